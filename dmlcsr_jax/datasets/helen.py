"""Helen (Le et al., ECCV 2012), with LaPa's 11 classes, in either of two forms.

Labels of Smith et al., CVPR 2013 ("SmithCVPR2013_dataset_resized"), 2,330 faces:

    images/{name}.jpg                         sizes vary
    labels/{name}/{name}_lbl{00..10}.png      one soft map (8 bits) per class; the label is the class of the largest
    exemplars.txt, tuning.txt, testing.txt    train, val and test; one "number , name" per line

HELEN*, relabeled by Lin et al., CVPR 2019, 2,099 faces:

    {train,test}/{name}_image.jpg, {name}_label.png
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from dmlcsr_jax.datasets import images, lapa, layout, raw_files
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.datasets.raw_files import size_text
from dmlcsr_jax.errors import UserError

SPEC = dataclasses.replace(lapa.SPEC, name="helen", headline="overall", terms="Helen: research purposes only.")

_LISTS = {"train": "exemplars.txt", "val": "tuning.txt", "test": "testing.txt"}


class Helen(RawDataset[tuple[str, str]]):
    """Helen. The form is recognized by the folders.

    Args:
      root: the folder with the data.

    Raises:
      UserError: a folder or list is missing or invalid.
    """

    spec = SPEC

    def __init__(self, root: str | os.PathLike[str]):
        self._root = pathlib.Path(root).expanduser()
        self._relabeled = not (self._root / "labels").exists() and (self._root / "train").is_dir()
        if self._relabeled:
            self._names = {split: relabeled_names(self._root / split) for split in ("train", "test")}
            self.official_sizes = {"train": 1_999, "test": 100}
            self.notes = ("labels: HELEN*, relabeled",)
        else:
            raw_files.require_folders(self._root, "images", "labels")
            self._names = {split: read_names(self._root / name) for split, name in _LISTS.items()}
            self.official_sizes = {"train": 2_000, "val": 230, "test": 100}
            self.notes = ("labels: SmithCVPR2013, the largest of the soft maps",)
        listed = (f"{split}/{name}" for split, names in self._names.items() for name in names)
        # The spelling is part of the key, so changing it would orphan data that is already prepared.
        self.key = raw_files.variant_key(self._root, (f"relabelled {self._relabeled}", *listed))

    def items(self, split: str) -> Sequence[tuple[str, str]]:
        """The split and the name of each of its images."""
        return [(split, name) for name in self._names.get(split, ())]

    def example(self, item: tuple[str, str]) -> Example:
        """An image and its labels."""
        split, name = item
        if self._relabeled:
            image, label_path = (self._root / split / f"{name}_{ending}" for ending in ("image.jpg", "label.png"))
            labels = raw_files.read_labels(label_path)
        else:
            image, label_path = self._root / "images" / f"{name}.jpg", self._root / "labels" / name / f"{name}_lbl"
            labels = most_likely_labels(label_path)
        return raw_files.make_example(
            name, image, labels=labels, label_path=label_path, spec=SPEC, resize=True, exif=self.exif
        )


def most_likely_labels(stem: pathlib.Path) -> np.ndarray:
    """[H, W] uint8: the class k whose map STEM{k:02d}.png (8 bits) is largest, the first one if several are.

    Raises:
      UserError: a map cannot be read, or their sizes differ.
    """
    maps = []
    for number in range(SPEC.num_classes):
        path = stem.with_name(f"{stem.name}{number:02d}.png")
        maps.append(images.decode_gray(raw_files.read_bytes(path), path))
        if maps[-1].shape != maps[0].shape:
            sizes = f"{size_text(maps[-1])} but the maps before it are {size_text(maps[0])}"
            raise UserError(f"{path} is {sizes}; replace it")
    return np.argmax(maps, axis=0).astype(np.uint8)


def read_names(path: pathlib.Path) -> list[str]:
    """The names in a list of lines "number , name"; UserError if it is missing or a line is invalid."""
    names = []
    for number, line in enumerate(raw_files.read_lines(path, "one line 'number , name' per image"), 1):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 2 or not fields[1]:
            raise UserError(f"{path}: line {number} is {line!r}; it should be like '1 , 100032540_1'")
        names.append(fields[1])
    return names


def relabeled_names(folder: pathlib.Path) -> list[str]:
    """The names in a split of HELEN* that have an image or labels."""
    files = layout.find_files(folder, {".jpg", ".png"})
    names = {stem.removesuffix(ending) for stem in files for ending in ("_image", "_label") if stem.endswith(ending)}
    if not names:
        raise UserError(f"{folder} has no NAME_image.jpg and NAME_label.png; add them")
    return sorted(names)
