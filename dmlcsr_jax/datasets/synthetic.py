"""The built-in data set: faces drawn by code, with the 19 classes of CelebAMask-HQ."""

import dataclasses
from collections.abc import Sequence

from dmlcsr_jax.datasets import celebamask_hq
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import encode_jpeg
from dmlcsr_jax.datasets.raw import SPLITS, Example, RawDataset
from dmlcsr_jax.fields import check_range

SPEC = dataclasses.replace(celebamask_hq.SPEC, name="synthetic", terms="drawn by code, no restrictions")

_MIN_SIZE = 32  # eyes and lips vanish in smaller images
_JPEG_QUALITY = 95


class Synthetic(RawDataset[tuple[str, int]]):
    """Faces drawn from a seed. No face is in two splits.

    A face depends only on the seed, its split and its number, so a larger split begins with the faces of a smaller one.

    Args:
      train: number of training faces.
      val: number of validation faces; 0 for no such split.
      test: number of test faces; likewise.
      size: side of the square images in pixels.
      seed: a nonnegative integer.

    Raises:
      FieldError: an argument is out of range.
    """

    spec = SPEC
    needs_path = False

    def __init__(self, *, train: int, val: int = 0, test: int = 0, size: int = 256, seed: int = 0):
        check_range("train", train, at_least=1)
        check_range("val", val, at_least=0)
        check_range("test", test, at_least=0)
        check_range("size", size, at_least=_MIN_SIZE)
        check_range("seed", seed, at_least=0)
        self._counts = {"train": train, "val": val, "test": test}
        self._size, self._seed = size, seed
        self.key = f"{size}px-{train}-{val}-{test}-seed{seed}"

    def items(self, split: str) -> Sequence[tuple[str, int]]:
        """The split and the number of each of its faces."""
        return [(split, index) for index in range(self._counts[split])]

    def example(self, item: tuple[str, int]) -> Example:
        """Draws one face."""
        split, index = item
        image, labels = draw_face(face_seed(self._seed, split, index), self._size)
        return Example(image=encode_jpeg(image, _JPEG_QUALITY), labels=labels, name=f"{split}_{index:06d}")


def face_seed(seed: int, split: str, index: int) -> int:
    """The seed of one face; unique for each data set seed, split and index below 2³²."""
    return (seed * len(SPLITS) + SPLITS.index(split) << 32) + index
