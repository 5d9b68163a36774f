"""LaPa (Liu et al., AAAI 2020): 22,176 faces, 11 classes, as the official archive unpacks.

{train,val,test}/{images/*.jpg,labels/*.png,landmarks/*.txt}: sizes vary; a landmark file has the count 106 and then a
point (x y, in pixels of the picture) a line.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from dmlcsr_jax.datasets import images, raw_files
from dmlcsr_jax.datasets.builder import SPLITS, FaceBuilder
from dmlcsr_jax.datasets.specs import LAPA as SPEC
from dmlcsr_jax.errors import UserError

NUM_LANDMARKS = 106


class LaPa(FaceBuilder):
    """The data set in the folder of the official archive.

    Examples have a feature `landmarks`, [106, 2] float32 (x, y) in pixels of the picture; NaN where a face's landmark
    file is missing or broken, which the summary tells.

    Args:
      root: the folder.
      bad_files: see `FaceBuilder`.
      data_dir: likewise.
    """

    name = "lapa"

    def __init__(self, root: str | os.PathLike, *, bad_files: str = "stop", data_dir: str | os.PathLike = ""):
        self._root = pathlib.Path(root).expanduser()
        raw_files.require_folders(self._root, "train")
        folders = {split: self._root / split for split in SPLITS if (self._root / split).is_dir()}
        self._files = {
            split: raw_files.find_pairs(folder / "images", folder / "labels") for split, folder in folders.items()
        }
        listed = (str(path.relative_to(self._root)) for some in self._files.values() for pair in some for path in pair)
        super().__init__(SPEC, key=raw_files.variant_key(self._root, listed), data_dir=data_dir, bad_files=bad_files)

    def items(self, split: str) -> Sequence[tuple[pathlib.Path, pathlib.Path]]:
        """The pictures of a split and their label maps."""
        return self._files.get(split, ())

    def example(self, item: tuple[pathlib.Path, pathlib.Path]) -> dict[str, Any]:
        """One picture, its labels and its landmarks."""
        picture, path = item
        raw_files.require_pair(picture, path)
        labels = images.decode_label(raw_files.read_bytes(path), path)
        example = raw_files.make_example(picture.stem, picture, labels, path, SPEC, resize=True)
        landmarks, remark = read_landmarks(path.parents[1] / "landmarks" / f"{picture.stem}.txt")
        return example | {"landmarks": landmarks, "remark": remark}

    def further_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The landmarks."""
        return {"landmarks": tfds.features.Tensor(shape=(NUM_LANDMARKS, 2), dtype=np.float32)}

    def official_sizes(self) -> dict[str, int]:
        """Those of the paper."""
        return {"train": 18_176, "val": 2_000, "test": 2_000}


def read_landmarks(path: pathlib.Path) -> tuple[np.ndarray, str]:
    """[106, 2] float32 points (x, y) of a landmark file and ""; or NaN and, in words, what is wrong with it."""
    try:
        count, *points = raw_files.read_lines(path, f"the count {NUM_LANDMARKS} and then a point a line")
        landmarks = np.array([line.split() for line in points], np.float32)
        if int(count) == NUM_LANDMARKS and landmarks.shape == (NUM_LANDMARKS, 2) and np.isfinite(landmarks).all():
            return landmarks, ""
        problem = f"{path} has no {NUM_LANDMARKS} points x y after the line {NUM_LANDMARKS}"
    except ValueError:
        problem = f"{path} is not a count and then a point a line"
    except UserError as error:
        problem = str(error)
    return np.full((NUM_LANDMARKS, 2), np.nan, np.float32), f"landmarks are NaN: {problem}"
