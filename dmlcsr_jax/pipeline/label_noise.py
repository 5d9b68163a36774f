"""Corrupts training labels on purpose, to measure the effect of label noise on training."""

import dataclasses
from typing import Any

import cv2
import numpy as np

from dmlcsr_jax.datasets.images import decode_label, encode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.fields import check_range
from dmlcsr_jax.pipeline.input_pipeline import Examples


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """How many label maps are corrupted, and how.

    Attributes:
      share: fraction of the label maps that are corrupted, 0..1.
      boundary: std of the smooth random field that moves their boundaries, as a fraction of the longer side, 0..1.
      swap: probability that left and right classes swap.
      drop: probability that one part is replaced by the class that borders on it most.

    Raises:
      FieldError: a field is out of range.
    """

    share: float = 0.0
    boundary: float = 0.02
    swap: float = 0.3
    drop: float = 0.3

    def __post_init__(self):
        for name, value in vars(self).items():
            check_range(name, value, at_least=0, at_most=1)


class NoisyLabels:
    """A source of examples with corrupted labels, the same ones in every epoch.

    Args:
      source: encoded examples.
      spec: their classes.
      noise: how many are corrupted, and how.
      seed: with the index of an example, the source of all randomness.
    """

    def __init__(self, source: Examples, *, spec: FaceSpec, noise: LabelNoise, seed: int):
        self._source, self._spec, self._noise, self._seed = source, spec, noise, seed

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        example = self._source[index]
        rng = np.random.default_rng((self._seed, 1, index))
        labels = corrupt(decode_label(example["label"], example["name"]), spec=self._spec, noise=self._noise, rng=rng)
        return {**example, "label": encode_label(labels)}


def corrupt(labels: np.ndarray, *, spec: FaceSpec, noise: LabelNoise, rng: np.random.Generator) -> np.ndarray:
    """Corrupts a label map [H, W] uint8 with probability `noise.share`; otherwise returns it unchanged."""
    chosen, swapped, dropped = rng.random(3) < (noise.share, noise.swap, noise.drop)
    if not chosen:
        return labels
    labels = shift_boundaries(labels, noise.boundary * max(labels.shape), rng)
    if swapped:
        labels = spec.flip_table()[labels]
    return drop_part(labels, spec.num_classes, rng) if dropped else labels


def shift_boundaries(labels: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Resamples [H, W] uint8 labels (nearest neighbor) along a smooth random field with a std of `std` pixels."""
    height, width = labels.shape
    coarse = rng.standard_normal((6, 6, 2)).astype(np.float32)
    field = std * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        labels, columns + field[..., 0], rows + field[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


def drop_part(labels: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Replaces one class of [H, W] uint8 labels, not the background, by the class that borders on it most."""
    parts = [part for part in np.unique(labels) if 0 < part < num_classes]
    if not parts:
        return labels
    inside = labels == rng.choice(parts)
    around = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~inside
    if not around.any():
        return labels
    return np.where(inside, np.bincount(labels[around]).argmax(), labels).astype(np.uint8)
