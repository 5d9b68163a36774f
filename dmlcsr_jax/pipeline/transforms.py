"""What happens to one example on the host: from encoded bytes to arrays of the network's size.

Sizes are (height, width) here, as in arrays.
"""

import dataclasses

import cv2
import numpy as np

from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.fields import check_range
from dmlcsr_jax.pipeline import geometry

__all__ = ["Augmentation", "augmented", "decode_image", "decode_label", "fit_image", "fit_labels", "jitter_colors"]

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied; scale and rotation as in the published code's `dataset/datasets.py`.

    Attributes:
      scale: the box taken from the picture is larger by a factor from a normal distribution around 1 of this deviation,
        kept within 1 - scale and 1 + scale.
      rotation: degrees, from a normal distribution around 0 of this deviation, kept within twice of it.
      rotation_probability: of turning at all.
      flip_probability: of mirroring, left and right classes changing places.
      color_jitter: s in 0..1: brightness, contrast and saturation change by factors from 1 - s to 1 + s, the hue
        by up to 36 s degrees. 0 changes nothing.
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotation_probability: float = 0.6
    flip_probability: float = 0.5
    color_jitter: float = 0.0

    def __post_init__(self):
        check_range("scale", self.scale, at_least=0, below=1)
        check_range("rotation", self.rotation, at_least=0, at_most=180)
        check_range("rotation_probability", self.rotation_probability, at_least=0, at_most=1)
        check_range("flip_probability", self.flip_probability, at_least=0, at_most=1)
        check_range("color_jitter", self.color_jitter, at_least=0, at_most=1)


def fit_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The whole picture [H, W, 3] uint8 fitted into `size` (height, width), black around it."""
    return geometry.warp_image(image, geometry.whole_image_matrix(image.shape[1], image.shape[0], size), size[::-1])


def fit_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The whole label map [H, W] uint8 fitted into `size` (height, width), 255 around it."""
    return geometry.warp_labels(labels, geometry.whole_image_matrix(labels.shape[1], labels.shape[0], size), size[::-1])


def augmented(
    image: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    augmentation: Augmentation,
    flip_table: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A varied training example of the network's size, each of the two warped only once.

    Args:
      image: [H, W, 3] uint8 RGB.
      labels: [H, W] uint8 class numbers.
      size: (height, width) of the results.
      augmentation: how much is varied.
      flip_table: [256] uint8, `FaceSpec.flip_table()`.
      rng: where all chance comes from; the same number of draws whatever the augmentation.

    Returns:
      [height, width, 3] and [height, width] uint8; outside the picture black and 255.
    """
    zoom, turn = rng.standard_normal(2)
    turned, flipped = rng.random(2) < (augmentation.rotation_probability, augmentation.flip_probability)
    height, width = labels.shape
    center, scale = geometry.whole_image(width, height, size[::-1])
    scale = scale * np.clip(1 + augmentation.scale * zoom, 1 - augmentation.scale, 1 + augmentation.scale)
    degrees = augmentation.rotation * np.clip(turn, -2, 2) if turned else 0.0
    matrix = geometry.affine_matrix(center, scale, degrees, size[::-1])
    if flipped:
        matrix = np.array([-matrix[:, 0], matrix[:, 1], matrix[:, 2] + (width - 1) * matrix[:, 0]]).T
    image = geometry.warp_image(image, matrix, size[::-1])
    labels = geometry.warp_labels(labels, matrix, size[::-1])
    image = jitter_colors(image, augmentation.color_jitter, rng)
    return image, cv2.LUT(labels, flip_table) if flipped else labels


def jitter_colors(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A picture [H, W, 3] uint8 RGB in another light, see `Augmentation.color_jitter`: one affine map of colors."""
    brightness, contrast, saturation, hue = strength * rng.uniform(-1, 1, 4)
    if not strength:
        return image
    brightness, contrast, saturation = 1 + brightness, 1 + contrast, 1 + saturation
    cos, sin = np.cos(0.2 * np.pi * hue), np.sin(0.2 * np.pi * hue)
    to_luma = np.tile(_LUMA, (3, 1))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # turns colors around the gray axis
    turn = cos * np.eye(3) + sin * cross + (1 - cos) / 3
    chroma = saturation * turn @ (np.eye(3) - to_luma)
    colors = brightness * contrast * (to_luma + chroma)
    offset = brightness * (1 - contrast) * (_LUMA @ cv2.mean(image)[:3])
    return cv2.transform(image, np.column_stack([colors, np.full(3, offset)]))
