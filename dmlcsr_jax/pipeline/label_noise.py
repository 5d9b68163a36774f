"""Training labels made worse on purpose, to see what noisy labels do to training."""

import dataclasses
from typing import Any

import cv2
import numpy as np

from dmlcsr_jax.datasets.images import decode_label, encode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.fields import check_range


@dataclasses.dataclass(frozen=True)
class LabelNoise:
    """How labels are made worse.

    Attributes:
      share: of the pictures whose labels are, 0..1.
      boundary: their boundaries move by a smooth random field of this deviation, as a share of the longer side.
      swap: probability that their left and right parts change names.
      drop: probability that one of their parts is taken out and what surrounds it most put in its place.
    """

    share: float = 0.0
    boundary: float = 0.02
    swap: float = 0.3
    drop: float = 0.3

    def __post_init__(self):
        check_range("share", self.share, at_least=0, at_most=1)
        check_range("boundary", self.boundary, at_least=0, at_most=1)
        check_range("swap", self.swap, at_least=0, at_most=1)
        check_range("drop", self.drop, at_least=0, at_most=1)


class NoisyLabels:
    """A source of examples whose labels are made worse; the same ones in the same way in every epoch.

    Args:
      source: undecoded examples, `len` and `[index]`.
      spec: their classes.
      noise: how much.
      seed: with an example's index, where all chance comes from.
    """

    def __init__(self, source: Any, spec: FaceSpec, noise: LabelNoise, seed: int):
        self._source, self._spec, self._noise, self._seed = source, spec, noise, seed

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        rng = np.random.default_rng((self._seed, 1, index))
        labels = corrupt(decode_label(example["label"]), self._spec, self._noise, rng)
        return example | {"label": encode_label(labels)}


def corrupt(labels: np.ndarray, spec: FaceSpec, noise: LabelNoise, rng: np.random.Generator) -> np.ndarray:
    """A label map [H, W] uint8 made worse, or left as it is in 1 - `noise.share` of the cases."""
    chosen, swapped, dropped = rng.random(3) < (noise.share, noise.swap, noise.drop)
    if not chosen:
        return labels
    labels = shift_boundaries(labels, noise.boundary * max(labels.shape), rng)
    if swapped:
        labels = spec.flip_table()[labels]
    return drop_part(labels, spec.num_classes, rng) if dropped else labels


def shift_boundaries(labels: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Each pixel takes the label of a place nearby; the smooth field of places deviates by `deviation` pixels."""
    height, width = labels.shape
    coarse = rng.standard_normal((6, 6, 2)).astype(np.float32)
    field = deviation * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        labels, columns + field[..., 0], rows + field[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


def drop_part(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """One part that is there, not the background, becomes the class that borders on it most."""
    parts = [part for part in np.unique(labels) if 0 < part < num_classes]
    if not parts:
        return labels
    inside = labels == rng.choice(parts)
    around = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~inside
    if not around.any():
        return labels
    return np.where(inside, np.bincount(labels[around]).argmax(), labels).astype(np.uint8)
