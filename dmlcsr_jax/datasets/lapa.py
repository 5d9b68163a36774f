"""LaPa (Liu et al., AAAI 2020): 22,176 faces, 11 classes.

The official archive unpacks to::

    {train,val,test}/images/*.jpg        sizes vary
    {train,val,test}/labels/*.png        class numbers
    {train,val,test}/landmarks/*.txt     the count 106, then one point per line

Landmarks are x y, in pixels of the image.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dmlcsr_jax.datasets import layout, raw_files
from dmlcsr_jax.datasets.raw import Example, FeatureType, RawDataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError

NUM_LANDMARKS = 106

# In the order of the published labels. "left" is the left of the image.
SPEC = FaceSpec(
    name="lapa",
    class_names=(
        "background",
        "skin",
        "left_eyebrow",
        "right_eyebrow",
        "left_eye",
        "right_eye",
        "nose",
        "upper_lip",
        "inner_mouth",
        "lower_lip",
        "hair",
    ),
    flip_pairs=(("left_eyebrow", "right_eyebrow"), ("left_eye", "right_eye")),
    score_groups={
        "brows": ("left_eyebrow", "right_eyebrow"),
        "eyes": ("left_eye", "right_eye"),
        "mouth": ("upper_lip", "inner_mouth", "lower_lip"),
        "overall": ("brows", "eyes", "nose", "mouth"),
    },
    terms="LaPa: non-commercial research and educational purposes only.",
)


class LaPa(RawDataset[raw_files.Pair]):
    """LaPa.

    Examples have the feature `landmarks`, [106, 2] float32 (x, y) in pixels of the image; NaN, with a remark in the
    summary, if the landmark file is missing or invalid.

    Args:
      root: the unpacked archive.

    Raises:
      UserError: a folder is missing.
    """

    spec = SPEC
    features: Mapping[str, FeatureType] = {"landmarks": ((NUM_LANDMARKS, 2), np.float32)}
    official_sizes: Mapping[str, int] = {"train": 18_176, "val": 2_000, "test": 2_000}

    def __init__(self, root: str | os.PathLike[str]):
        self._root = pathlib.Path(root).expanduser()
        raw_files.require_folders(self._root, "train")
        found = layout.find_layout(self._root)
        self._pairs, self.warnings = found.pairs, found.unread
        files = (path for pairs in self._pairs.values() for pair in pairs for path in (pair.image, pair.labels))
        listed = (str(path.relative_to(self._root)) for path in files)
        self.key = raw_files.variant_key(self._root, listed)

    def items(self, split: str) -> Sequence[raw_files.Pair]:
        """The images of a split and their label maps."""
        return self._pairs.get(split, ())

    def example(self, item: raw_files.Pair) -> Example:
        """An image, its labels and its landmarks."""
        example = raw_files.read_pair(item, SPEC, resize=True, exif=self.exif)
        landmarks, remark = read_landmarks(_landmarks_path(item))
        return dataclasses.replace(example, features={"landmarks": landmarks}, remark=remark)


def _landmarks_path(pair: raw_files.Pair) -> pathlib.Path:
    split = pair.labels.parents[1 + pair.name.count("/")]
    return split / "landmarks" / f"{pair.name}.txt"


def read_landmarks(path: pathlib.Path) -> tuple[np.ndarray, str]:
    """[106, 2] float32 points (x, y) of a landmark file and ""; NaN and a description of the problem if invalid."""
    try:
        count, *points = raw_files.read_lines(path, f"the count {NUM_LANDMARKS} and then one point per line")
        landmarks = np.array([line.split() for line in points], np.float32)
        if int(count) == NUM_LANDMARKS and landmarks.shape == (NUM_LANDMARKS, 2) and np.isfinite(landmarks).all():
            return landmarks, ""
        problem = f"{path} does not have {NUM_LANDMARKS} points x y after the line {NUM_LANDMARKS}"
    except ValueError:
        problem = f"{path} is not a count followed by one point per line"
    except UserError as error:
        problem = str(error)
    return np.full((NUM_LANDMARKS, 2), np.nan, np.float32), f"landmarks are NaN: {problem}"
