"""CelebAMask-HQ (Lee et al., CVPR 2020): 30,000 faces, 19 classes, as the official archive unpacks.

    CelebA-HQ-img/{0..29999}.jpg                              1024 x 1024
    CelebAMask-HQ-mask-anno/{0..14}/{number:05d}_{part}.png   512 x 512, white on black; no file for an absent part
    CelebA-HQ-to-CelebA-mapping.txt                           number, number in CelebA from 0, file in CelebA

The splits are CelebA's: by `list_eval_partition.txt` of CelebA where that file has been added, else by the numbers at
which it changes. Pictures are brought to the size of their label maps.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from dmlcsr_jax.datasets import images, raw_files
from dmlcsr_jax.datasets.builder import SPLITS, FaceBuilder
from dmlcsr_jax.datasets.specs import CELEBAMASK_HQ as SPEC
from dmlcsr_jax.errors import UserError

_PICTURES, _PARTS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
_MAPPING, _PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
_PICTURES_PER_FOLDER = 2000
_FIRST_OF_VAL, _FIRST_OF_TEST = 162_771, 182_638  # of CelebA's numbers from 0


class CelebAMaskHQ(FaceBuilder):
    """The data set in the folder of the official archive.

    Args:
      root: the folder.
      merge_order: the 18 parts, separated by commas; each is painted over those before it.
      labels: a folder, seen from `root`, of label maps NUMBER.png that are merged already; "" merges the parts.
      bad_files: see `FaceBuilder`.
      data_dir: likewise.

    Raises:
      UserError: a folder or list is missing or makes no sense, or the order does not have every part once.
    """

    name = "celebamask_hq"

    def __init__(
        self,
        root: str | os.PathLike,
        *,
        merge_order: str = ",".join(SPEC.class_names[1:]),
        labels: str = "",
        bad_files: str = "stop",
        data_dir: str | os.PathLike = "",
    ):
        self._root = pathlib.Path(root).expanduser()
        self._order = parse_merge_order(merge_order)
        self._labels = self._root / labels if labels else None
        raw_files.require_folders(self._root, _PICTURES, labels or _PARTS)
        self._splits, self._notes = read_splits(self._root)
        present = sorted(path.name for path in (self._root / _PICTURES).iterdir())
        options = f"labels {labels}" if labels else f"order {' '.join(self._order)}"
        listed = (f"{split} {number}" for split, numbers in self._splits.items() for number in numbers)
        key = raw_files.variant_key(self._root, (options, *listed, *present))
        super().__init__(SPEC, key=key, data_dir=data_dir, bad_files=bad_files)

    def items(self, split: str) -> Sequence[int]:
        """The numbers of a split's pictures."""
        return self._splits[split]

    def example(self, item: int) -> dict[str, Any]:
        """Picture and merged labels of one number."""
        picture = self._root / _PICTURES / f"{item}.jpg"
        if self._labels:
            path, labels = self._merged_labels(item)
        else:
            path = self._root / _PARTS / str(item // _PICTURES_PER_FOLDER) / f"{item:05d}"
            labels = merge_parts(path, self._order)
        return raw_files.make_example(str(item), picture, labels, path, SPEC, resize=True)

    def official_sizes(self) -> dict[str, int]:
        """The sizes of CelebA's splits within CelebA-HQ."""
        return {"train": 24_183, "val": 2_993, "test": 2_824}

    def notes(self) -> Sequence[str]:
        """How it was split, and in which order parts were painted."""
        if self._labels:
            return (*self._notes, f"labels: those of {self._labels}")
        return (*self._notes, f"parts painted in the order {', '.join(self._order)}")

    def _merged_labels(self, number: int) -> tuple[pathlib.Path, np.ndarray]:
        candidates = [self._labels / f"{number}.png", self._labels / f"{number:05d}.png"]
        path = next((path for path in candidates if path.exists()), candidates[0])
        return path, images.decode_label(raw_files.read_bytes(path), path)


def parse_merge_order(text: str) -> tuple[str, ...]:
    """The 18 parts of `config.dataset.celebamask_hq.merge_order`; UserError where one is missing or repeated."""
    order = tuple(name.strip() for name in text.split(","))
    for name in SPEC.class_names[1:]:
        if order.count(name) != 1:
            often = "lacks" if name not in order else "repeats"
            raise UserError(f"config.dataset.celebamask_hq.merge_order {often} {name}; give each part once")
    strangers = sorted(set(order) - set(SPEC.class_names[1:]))
    if strangers:
        raise UserError(
            f"config.dataset.celebamask_hq.merge_order has {strangers[0]!r}; the parts are "
            f"{', '.join(SPEC.class_names[1:])}"
        )
    return order


def merge_parts(stem: pathlib.Path, order: Sequence[str]) -> np.ndarray:
    """[H, W] uint8 class numbers from the files STEM_{part}.png, painted in an order where they are not black.

    Raises UserError where there is none of them, one cannot be read, or two have different sizes.
    """
    labels = None
    for part in order:
        path = stem.with_name(f"{stem.name}_{part}.png")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); make it readable") from error
        mask = images.decode_gray(data, path)
        if labels is None:
            labels = np.zeros(mask.shape, np.uint8)
        elif mask.shape != labels.shape:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (mask.shape, labels.shape)]
            raise UserError(f"{path} is {sizes[0]} but other parts of that face are {sizes[1]}; replace it")
        cv2.copyTo(np.full_like(labels, SPEC.class_id(part)), mask, labels)  # copies where the mask is not 0
    if labels is None:
        raise UserError(f"{stem}_*.png: there is no part of that face; add its parts, at least {stem.name}_skin.png")
    return labels


def read_splits(root: pathlib.Path) -> tuple[dict[str, list[int]], list[str]]:
    """The numbers of each split by CelebA's partition, and how that was found, in words.

    Raises UserError where a list is missing, has a line of another form, or does not know a picture.
    """
    partition = read_partition(root / _PARTITION) if (root / _PARTITION).exists() else None
    splits = {split: [] for split in SPLITS}
    path = root / _MAPPING
    meaning = "a line for each picture: its number, its number in CelebA from 0, and its file there"
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
            raise UserError(f"{root / _PARTITION} lacks {fields[2]}, picture {fields[0]}; take CelebA's whole file")
        splits[split].append(int(fields[0]))
    source = _PARTITION if partition else f"the thresholds {_FIRST_OF_VAL:,} and {_FIRST_OF_TEST:,} of CelebA's numbers"
    return splits, [f"split by {source}"]


def read_partition(path: pathlib.Path) -> dict[str, str]:
    """File of CelebA -> split, from CelebA's `list_eval_partition.txt`; UserError names a line of another form."""
    splits = {}
    for number, line in enumerate(raw_files.read_lines(path, "a line for each file of CelebA: FILE 0, 1 or 2"), 1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise UserError(f"{path}: line {number} is {line!r}; it should be like '000001.jpg 0'")
        splits[fields[0]] = SPLITS[int(fields[1])]
    return splits
