"""The embedded data set: faces drawn by code, with the 19 classes of CelebAMask-HQ."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dmlcsr_jax.datasets.builder import SPLITS, FaceBuilder
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import encode_jpeg
from dmlcsr_jax.datasets.specs import SYNTHETIC as SPEC
from dmlcsr_jax.errors import UserError

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
        counts = {split: sizes.get(split, 0) for split in SPLITS}
        _check(counts, size, seed)
        self._sizes, self._size, self._seed = counts, size, seed
        key = f"{size}px-{'-'.join(str(count) for count in counts.values())}-seed{seed}"
        super().__init__(SPEC, key=key, data_dir=data_dir)

    def items(self, split: str) -> Sequence[tuple[str, int]]:
        """The split and the number of each of its faces."""
        return [(split, index) for index in range(self._sizes[split])]

    def example(self, item: tuple[str, int]) -> dict[str, Any]:
        """Draws one face."""
        split, index = item
        image, label = draw_face(face_seed(self._seed, split, index), self._size)
        return {"image": encode_jpeg(image, _JPEG_QUALITY), "label": label, "name": f"{split}_{index:06d}"}


def face_seed(seed: int, split: str, index: int) -> int:
    """The seed of one face: another one for every data set's seed, split and number below 2³²."""
    return (seed * len(SPLITS) + SPLITS.index(split) << 32) + index


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
