"""The embedded data set: faces drawn by code, with the 19 classes of CelebAMask-HQ."""

import functools
import os
from collections.abc import Iterator, Mapping

import cv2

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.builder import FaceBuilder, parallel_map
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import encode_label
from dmlcsr_jax.errors import UserError

SPEC = get_spec("synthetic")

_SPLITS = ("train", "val", "test")
_SMALLEST = 32  # pixels; below, eyes and lips are gone
_JPEG_QUALITY = 95


class Synthetic(FaceBuilder):
    """Faces drawn from a seed, no two splits with a face in common.

    A face depends on the seed, its split and its number only, so a larger split begins with the faces of a smaller one.

    Args:
      sizes: number of faces of "train", "val" and "test"; 0 or absent for a split that is not there.
      size: side of the square pictures in pixels.
      seed: whole number from 0.
      data_dir: where prepared data lies, see `FaceBuilder`.

    Raises:
      UserError: a number that makes no sense, named by its field of the configuration.
    """

    def __init__(self, sizes: Mapping[str, int], *, size: int = 256, seed: int = 0, data_dir: str | os.PathLike = ""):
        counts = {split: sizes.get(split, 0) for split in _SPLITS}
        _check(counts, size, seed)
        self._sizes, self._size, self._seed = counts, size, seed
        key = f"{size}px-{'-'.join(str(count) for count in counts.values())}-seed{seed}"
        super().__init__(SPEC, key=key, data_dir=data_dir)

    def split_sizes(self) -> dict[str, int]:
        """Name of a split -> number of its examples."""
        return self._sizes

    def examples(self, split: str) -> Iterator[dict]:
        """Draws the examples of a split, all cores at once."""
        draw = functools.partial(_example, seed=self._seed, split=split, size=self._size)
        return parallel_map(draw, range(self._sizes[split]))


def face_seed(seed: int, split: str, index: int) -> int:
    """The seed of one face: another one for every data set's seed, split and number below 2³²."""
    return (seed * len(_SPLITS) + _SPLITS.index(split) << 32) + index


def _example(index: int, *, seed: int, split: str, size: int) -> dict:
    image, label = draw_face(face_seed(seed, split, index), size)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return {"image": jpeg, "label": encode_label(label), "name": f"{split}_{index:06d}"}


def _check(counts: Mapping[str, int], size: int, seed: int) -> None:
    field = "config.dataset.synthetic"
    for split, count in counts.items():
        if count < 0:
            raise UserError(f"{field}.{split} is {count}; give a number of faces, 0 for none")
    if not counts["train"]:
        raise UserError(f"{field}.train is 0; give at least 1 face to train on")
    if size < _SMALLEST:
        raise UserError(f"{field}.size is {size}; give at least {_SMALLEST} pixels")
    if seed < 0:
        raise UserError(f"{field}.seed is {seed}; give a whole number from 0")
