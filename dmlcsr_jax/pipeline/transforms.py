"""Fits and augments one example on the host, at the size of the network's input.

Sizes are (height, width) here, as in arrays.
"""

import dataclasses

import cv2
import numpy as np

from dmlcsr_jax.fields import check_range
from dmlcsr_jax.pipeline import geometry, photo_effects
from dmlcsr_jax.types import IGNORE_ID

# Probability -> effect, in the order of a photo's life: the scene, the lens, the sensor, the file.
_EFFECTS = {
    "gray": photo_effects.to_gray,
    "darkening": photo_effects.darken,
    "blur": photo_effects.blur,
    "noise": photo_effects.add_noise,
    "compression": photo_effects.compress,
}
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random augmentation of training images; scale and rotation as in the published code's `dataset/datasets.py`.

    Attributes:
      scale: std of the factor by which the box cut from the image grows; drawn from a normal distribution around 1
        and clipped to 1 - scale and 1 + scale.
      rotation: std of the angle in degrees; drawn from a normal distribution around 0 and clipped to twice the std.
      rotation_probability: of rotating at all.
      flip_probability: of mirroring, which also swaps left and right classes.
      color_jitter: s in 0..1: brightness, contrast and saturation change by factors from 1 - s to 1 + s, the hue
        by up to 36 s degrees; 0 turns it off.
      zoom: z of at least 1: the box also grows by a factor from 1 / z to z, uniform in its logarithm; 1 turns it off.
      shift: std of the distance by which the box moves along each axis, relative to its side, clipped to twice the std.
      surroundings: probability that what lies outside of the image is shown as background instead of ignored.
      occlusion: probability that a drawn shape covers a part of the image; see `photo_effects` for this and the rest.
      gray: probability of losing all colors.
      darkening: probability of bad light.
      blur: probability of lost resolution.
      noise: probability of noise.
      compression: probability of JPEG artifacts.

    Raises:
      FieldError: a field is out of range.
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotation_probability: float = 0.6
    flip_probability: float = 0.5
    color_jitter: float = 0.0
    zoom: float = 1.0
    shift: float = 0.0
    surroundings: float = 0.0
    occlusion: float = 0.0
    gray: float = 0.0
    darkening: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    compression: float = 0.0

    def __post_init__(self):
        check_range("scale", self.scale, at_least=0, below=1)
        check_range("rotation", self.rotation, at_least=0, at_most=180)
        check_range("zoom", self.zoom, at_least=1)
        for name in (
            "rotation_probability",
            "flip_probability",
            "color_jitter",
            "shift",
            "surroundings",
            "occlusion",
            *_EFFECTS,
        ):
            check_range(name, getattr(self, name), at_least=0, at_most=1)


def fit_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fits a whole image [H, W, 3] uint8 into `size` (height, width), black around it."""
    height, width = size
    matrix = geometry.whole_image_matrix(image.shape[1], image.shape[0], size)
    return geometry.warp_image(image, matrix, (width, height))


def fit_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fits a whole label map [H, W] uint8 into `size` (height, width), 255 around it."""
    height, width = size
    matrix = geometry.whole_image_matrix(labels.shape[1], labels.shape[0], size)
    return geometry.warp_labels(labels, matrix, (width, height))


def augmented(
    image: np.ndarray,
    labels: np.ndarray,
    *,
    size: tuple[int, int],
    augmentation: Augmentation,
    flip_table: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Augments a training example; image and labels are each resampled only once.

    Args:
      image: [H, W, 3] uint8 RGB.
      labels: [H, W] uint8 class numbers.
      size: (height, width) of the results.
      augmentation: what is drawn, and how widely.
      flip_table: [256] uint8, `FaceSpec.flip_table()`.
      rng: source of all randomness; what the fields up to `color_jitter` draw does not depend on the other fields.

    Returns:
      [height, width, 3] and [height, width] uint8; black and 255 outside of the image, if not shown as background.
    """
    output_size = size[1], size[0]
    zoom, angle = rng.standard_normal(2)
    rotated, flipped = rng.random(2) < (augmentation.rotation_probability, augmentation.flip_probability)
    height, width = labels.shape
    center, scale = geometry.whole_image(width, height, output_size)
    scale = scale * np.clip(1 + augmentation.scale * zoom, 1 - augmentation.scale, 1 + augmentation.scale)
    effects = rng.spawn(1)[0]
    scale = scale * augmentation.zoom ** effects.uniform(-1, 1)
    center = center + scale * augmentation.shift * np.clip(effects.standard_normal(2), -2, 2)
    degrees = augmentation.rotation * np.clip(angle, -2, 2) if rotated else 0.0
    matrix = geometry.affine_matrix(center, scale, degrees, output_size)
    if flipped:
        matrix = np.array([-matrix[:, 0], matrix[:, 1], matrix[:, 2] + (width - 1) * matrix[:, 0]]).T
    image = geometry.warp_image(image, matrix, output_size)
    labels = geometry.warp_labels(labels, matrix, output_size)
    if flipped:
        labels = cv2.LUT(labels, flip_table)
    if effects.random() < augmentation.surroundings:
        outside = geometry.warp_labels(np.zeros((height, width), np.uint8), matrix, output_size) == IGNORE_ID
        image, labels = photo_effects.surround(image, labels, outside, effects)
    if effects.random() < augmentation.occlusion:
        image, labels = photo_effects.occlude(image, labels, effects)
    image = jitter_colors(image, augmentation.color_jitter, rng)
    for name, effect in _EFFECTS.items():
        if effects.random() < getattr(augmentation, name):
            image = effect(image, effects)
    return image, labels


def jitter_colors(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Randomly changes the colors of [H, W, 3] uint8 RGB; see `Augmentation.color_jitter` for `strength`."""
    brightness, contrast, saturation, hue = strength * rng.uniform(-1, 1, 4)
    if not strength:
        return image
    return adjust_colors(
        image, brightness=1 + brightness, contrast=1 + contrast, saturation=1 + saturation, hue=0.2 * np.pi * hue
    )


def adjust_colors(
    image: np.ndarray,
    *,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
) -> np.ndarray:
    """Changes the colors by one affine map, whose results are rounded and clipped to 0..255.

    With luma = 0.299 R + 0.587 G + 0.114 B, in this order: the hue rotates the difference of a color and its luma
    around the gray axis, the saturation scales it, the contrast scales the distance from the image's mean luma, and
    the brightness scales everything.

    Args:
      image: [H, W, 3] uint8 RGB.
      brightness: factor.
      contrast: factor.
      saturation: factor.
      hue: angle of the rotation in radians.

    Returns:
      [H, W, 3] uint8.
    """
    cos, sin = np.cos(hue), np.sin(hue)
    to_luma = np.tile(_LUMA, (3, 1))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotation = cos * np.eye(3) + sin * cross + (1 - cos) / 3  # Rodrigues, around (1, 1, 1)
    chroma = saturation * rotation @ (np.eye(3) - to_luma)
    colors = brightness * contrast * (to_luma + chroma)
    offset = brightness * (1 - contrast) * (_LUMA @ cv2.mean(image)[:3])
    return cv2.transform(image, np.column_stack([colors, np.full(3, offset)]))
