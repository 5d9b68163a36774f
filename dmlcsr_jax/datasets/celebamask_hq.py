"""CelebAMask-HQ (Lee et al., CVPR 2020): 30,000 faces, 19 classes, as the official archive unpacks.

    CelebA-HQ-img/{0..29999}.jpg                              1024 x 1024
    CelebAMask-HQ-mask-anno/{0..14}/{number:05d}_{part}.png   512 x 512, white on black; no file for an absent part
    CelebA-HQ-to-CelebA-mapping.txt                           number, number in CelebA (from 0), file in CelebA

The splits are CelebA's: from CelebA's `list_eval_partition.txt` if that file is in the folder, otherwise from the
numbers at which the split changes. Images are resized to the size of their label maps.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from dmlcsr_jax.datasets import images, raw_files
from dmlcsr_jax.datasets.raw import SPLITS, Example, RawDataset
from dmlcsr_jax.datasets.raw_files import size_text
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import FieldError

# In the order of the published labels. `l_` is the subject's left, which is the right of the image.
SPEC = FaceSpec(
    name="celebamask_hq",
    class_names=(
        "background",
        "skin",
        "nose",
        "eye_g",
        "l_eye",
        "r_eye",
        "l_brow",
        "r_brow",
        "l_ear",
        "r_ear",
        "mouth",
        "u_lip",
        "l_lip",
        "hair",
        "hat",
        "ear_r",
        "neck_l",
        "neck",
        "cloth",
    ),
    flip_pairs=(("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear")),
    terms="CelebAMask-HQ: non-commercial research and educational purposes only.",
)

_PARTS = SPEC.class_names[1:]
_IMAGE_FOLDER, _PART_FOLDER = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
_MAPPING, _PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
_FACES_PER_FOLDER = 2000
_FIRST_OF_VAL, _FIRST_OF_TEST = 162_771, 182_638  # numbers in CelebA, from 0


class CelebAMaskHQ(RawDataset[int]):
    """CelebAMask-HQ.

    Args:
      root: the unpacked archive.
      merge_order: the 18 parts, separated by commas; later ones are painted over earlier ones.
      labels: a folder in `root` with label maps NUMBER.png that are already merged; "" merges the parts.

    Raises:
      FieldError: `merge_order` does not contain each part exactly once.
      UserError: a folder or list is missing or invalid.
    """

    spec = SPEC
    official_sizes: Mapping[str, int] = {"train": 24_183, "val": 2_993, "test": 2_824}

    def __init__(self, root: str | os.PathLike[str], *, merge_order: str = ",".join(_PARTS), labels: str = ""):
        self._root = pathlib.Path(root).expanduser()
        self._order = parse_merge_order(merge_order)
        self._labels = self._root / labels if labels else None
        raw_files.require_folders(self._root, _IMAGE_FOLDER, labels or _PART_FOLDER)
        self._splits, split_by = read_splits(self._root)
        painted = f"parts painted in the order {', '.join(self._order)}"
        self.notes = (f"split by {split_by}", f"labels: those of {self._labels}" if labels else painted)
        present = sorted(path.name for path in (self._root / _IMAGE_FOLDER).iterdir())
        options = f"labels {labels}" if labels else f"order {' '.join(self._order)}"
        listed = (f"{split} {number}" for split, numbers in self._splits.items() for number in numbers)
        self.key = raw_files.variant_key(self._root, (options, *listed, *present))

    def items(self, split: str) -> Sequence[int]:
        """The image numbers of a split."""
        return self._splits[split]

    def example(self, item: int) -> Example:
        """An image and its merged labels."""
        image = self._root / _IMAGE_FOLDER / f"{item}.jpg"
        if self._labels:
            path = _merged_path(self._labels, item)
            labels = raw_files.read_labels(path)
        else:
            path = self._root / _PART_FOLDER / str(item // _FACES_PER_FOLDER) / f"{item:05d}"
            labels = merge_parts(path, self._order)
        return raw_files.make_example(
            str(item), image, labels=labels, label_path=path, spec=SPEC, resize=True, exif=self.exif
        )


def _merged_path(folder: pathlib.Path, number: int) -> pathlib.Path:
    padded = folder / f"{number:05d}.png"
    return padded if padded.exists() and not (folder / f"{number}.png").exists() else folder / f"{number}.png"


def parse_merge_order(text: str) -> tuple[str, ...]:
    """The 18 parts in a comma-separated list; FieldError if one is missing, repeated or unknown."""
    order = tuple(name.strip() for name in text.split(","))
    for name in _PARTS:
        if order.count(name) != 1:
            problem = "lacks" if name not in order else "repeats"
            raise FieldError(f"merge_order {problem} {name}; name each part once")
    unknown = sorted(set(order) - set(_PARTS))
    if unknown:
        raise FieldError(f"merge_order has {unknown[0]!r}; the parts are {', '.join(_PARTS)}")
    return order


def merge_parts(stem: pathlib.Path, order: Sequence[str]) -> np.ndarray:
    """[H, W] uint8 class numbers from the files STEM_{part}.png, whose nonzero pixels are painted in this order.

    Raises:
      UserError: there is no such file, one cannot be read, or their sizes differ.
    """
    labels = None
    for part in order:
        path = stem.with_name(f"{stem.name}_{part}.png")
        data = raw_files.read_optional(path)
        if data is None:
            continue
        mask = images.decode_gray(data, path)
        if labels is None:
            labels = np.zeros(mask.shape, np.uint8)
        elif mask.shape != labels.shape:
            sizes = f"{size_text(mask)} but other parts of this face are {size_text(labels)}"
            raise UserError(f"{path} is {sizes}; replace it")
        cv2.copyTo(np.full_like(labels, SPEC.class_id(part)), mask, labels)  # copies where the mask is not 0
    if labels is None:
        raise UserError(f"{stem}_*.png: this face has no parts; add them, at least {stem.name}_skin.png")
    return labels


def read_splits(root: pathlib.Path) -> tuple[dict[str, list[int]], str]:
    """The image numbers of each split of CelebA, and how the splits were found.

    Raises:
      UserError: a list is missing, has an invalid line, or lacks an image.
    """
    partition = read_partition(root / _PARTITION) if (root / _PARTITION).exists() else None
    splits = {split: [] for split in SPLITS}
    path = root / _MAPPING
    meaning = "one line per image: its number, its number in CelebA (from 0), and its file there"
    for number, line in enumerate(raw_files.read_lines(path, meaning), 1):
        fields = line.split()
        if not fields or fields[0] == "idx":
            continue
        if len(fields) != 3 or not (fields[0].isdigit() and fields[1].isdigit()):
            raise UserError(f"{path}: line {number} is {line!r}; it should be like '0 119613 119614.jpg'")
        if partition is None:
            split = SPLITS[(int(fields[1]) >= _FIRST_OF_VAL) + (int(fields[1]) >= _FIRST_OF_TEST)]
        elif fields[2] in partition:
            split = partition[fields[2]]
        else:
            raise UserError(f"{root / _PARTITION} lacks {fields[2]}, image {fields[0]}; use CelebA's complete file")
        splits[split].append(int(fields[0]))
    thresholds = f"the thresholds {_FIRST_OF_VAL:,} and {_FIRST_OF_TEST:,} of CelebA's numbers"
    return splits, thresholds if partition is None else _PARTITION


def read_partition(path: pathlib.Path) -> dict[str, str]:
    """CelebA file name -> split, from `list_eval_partition.txt`; UserError names an invalid line."""
    splits = {}
    for number, line in enumerate(raw_files.read_lines(path, "one line per file of CelebA: FILE 0, 1 or 2"), 1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise UserError(f"{path}: line {number} is {line!r}; it should be like '000001.jpg 0'")
        splits[fields[0]] = SPLITS[int(fields[1])]
    return splits
