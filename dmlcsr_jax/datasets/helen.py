"""Helen (Le et al., ECCV 2012), LaPa's 11 classes, in either of the two forms that people have.

Labels of Smith et al., CVPR 2013 ("SmithCVPR2013_dataset_resized"), 2,330 faces:

    images/{name}.jpg                         sizes vary
    labels/{name}/{name}_lbl{00..10}.png      8 bits a class: how much of the pixel is of it; the label is the largest
    exemplars.txt, tuning.txt, testing.txt    "number , name" a line: train, val and test

HELEN*, relabeled by Lin et al., CVPR 2019, 2,099 faces:

    {train,test}/{name}_image.jpg, {name}_label.png
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dmlcsr_jax.datasets import images, raw_files
from dmlcsr_jax.datasets.builder import FaceBuilder
from dmlcsr_jax.datasets.specs import HELEN as SPEC
from dmlcsr_jax.errors import UserError

_LISTS = {"train": "exemplars.txt", "val": "tuning.txt", "test": "testing.txt"}


class Helen(FaceBuilder):
    """The data set in a folder of either form; which one is seen from what is there.

    Args:
      root: the folder.
      bad_files: see `FaceBuilder`.
      data_dir: likewise.
    """

    name = "helen"

    def __init__(self, root: str | os.PathLike, *, bad_files: str = "stop", data_dir: str | os.PathLike = ""):
        self._root = pathlib.Path(root).expanduser()
        self._relabeled = not (self._root / "labels").exists() and (self._root / "train").is_dir()
        if self._relabeled:
            self._names = {split: relabeled_names(self._root / split) for split in ("train", "test")}
        else:
            raw_files.require_folders(self._root, "images", "labels")
            self._names = {split: read_names(self._root / name) for split, name in _LISTS.items()}
        listed = (f"{split}/{name}" for split, names in self._names.items() for name in names)
        key = raw_files.variant_key(self._root, (f"relabeled {self._relabeled}", *listed))
        super().__init__(SPEC, key=key, data_dir=data_dir, bad_files=bad_files)

    def items(self, split: str) -> Sequence[tuple[str, str]]:
        """The split and the name of each of its pictures."""
        return [(split, name) for name in self._names.get(split, ())]

    def example(self, item: tuple[str, str]) -> dict[str, Any]:
        """One picture and its labels."""
        split, name = item
        if self._relabeled:
            picture, path = (self._root / split / f"{name}_{ending}" for ending in ("image.jpg", "label.png"))
            labels = images.decode_label(raw_files.read_bytes(path), path)
        else:
            picture, path = self._root / "images" / f"{name}.jpg", self._root / "labels" / name / f"{name}_lbl"
            labels = most_likely_labels(path)
        return raw_files.make_example(name, picture, labels, path, SPEC, resize=True)

    def official_sizes(self) -> dict[str, int]:
        """Those of the lists, or of HELEN*."""
        return {"train": 1_999, "test": 100} if self._relabeled else {"train": 2_000, "val": 230, "test": 100}

    def notes(self) -> Sequence[str]:
        """Which of the two forms it is."""
        return (f"labels: {'HELEN*, relabeled' if self._relabeled else 'SmithCVPR2013, the largest of soft maps'}",)


def most_likely_labels(stem: pathlib.Path) -> np.ndarray:
    """[H, W] uint8: at each pixel the class k whose map STEM{k:02d}.png (8 bits) is largest, the first of equals.

    Raises UserError where one of the maps cannot be read, or two have different sizes.
    """
    largest, labels = None, None
    for number in range(SPEC.num_classes):
        path = stem.with_name(f"{stem.name}{number:02d}.png")
        share = images.decode_gray(raw_files.read_bytes(path), path)
        if largest is None:
            largest, labels = share, np.zeros(share.shape, np.uint8)
            continue
        if share.shape != largest.shape:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (share.shape, largest.shape)]
            raise UserError(f"{path} is {sizes[0]} but the maps before it are {sizes[1]}; replace it")
        np.copyto(labels, number, where=share > largest)
        np.maximum(largest, share, out=largest)
    return labels


def read_names(path: pathlib.Path) -> list[str]:
    """The names in a list "number , name"; UserError where there is none or a line is of another form."""
    names = []
    for number, line in enumerate(raw_files.read_lines(path, "a line 'number , name' for each picture"), 1):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 2 or not fields[1]:
            raise UserError(f"{path}: line {number} is {line!r}; it should be like '1 , 100032540_1'")
        names.append(fields[1])
    return names


def relabeled_names(folder: pathlib.Path) -> list[str]:
    """The names of a split of HELEN*, of which picture or labels are there."""
    files = raw_files.find_files(folder, {".jpg", ".png"})
    names = {stem.removesuffix(ending) for stem in files for ending in ("_image", "_label") if stem.endswith(ending)}
    if not names:
        raise UserError(f"{folder} holds no NAME_image.jpg and NAME_label.png; add them")
    return sorted(names)
