"""What happens to real photos: things in front of the face, bad light, blur, noise and compression.

Images are [H, W, 3] uint8 RGB. Every function draws its randomness from `rng` alone.
"""

import cv2
import numpy as np

from dmlcsr_jax.types import IGNORE_ID

_DARKEST_GAMMA = 2.5
_STRONGEST_NOISE = 12.0  # standard deviation, of 255
_SMALLEST = 0.25  # share of the size that blurred images are reduced to
_QUALITIES = (15, 80)  # of JPEG
_OCCLUDER_CORNERS = 7


def to_gray(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The luma of the image in all channels."""
    del rng
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def darken(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """255 (image / 255)^gamma with gamma from 1 to 2.5."""
    gamma = rng.uniform(1, _DARKEST_GAMMA)
    return cv2.LUT(image, np.rint(255 * np.linspace(0, 1, 256) ** gamma).astype(np.uint8))


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reduces the image to between a quarter and all of its size, and enlarges it again."""
    height, width = image.shape[:2]
    share = rng.uniform(_SMALLEST, 1)
    small = max(round(share * width), 1), max(round(share * height), 1)
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)


def add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds independent Gaussian noise with a standard deviation of up to 12."""
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, _STRONGEST_NOISE))
    return np.rint(np.clip(image + noise, 0, 255)).astype(np.uint8)


def compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG artifacts of a quality from 15 to 80."""
    quality = int(rng.integers(*_QUALITIES, endpoint=True))
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def surround(
    image: np.ndarray, labels: np.ndarray, outside: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shows background around a photo that does not fill the input: black, one color, or colors that change smoothly.

    Args:
      image: black outside of the photo.
      labels: [H, W] uint8.
      outside: [H, W] bool, where the photo is not.
      rng: source of all randomness.

    Returns:
      New image and labels, 0 outside of the photo.
    """
    cells = rng.choice([0, 1, 4])  # along each axis
    if cells:
        coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        colors = cv2.resize(coarse, labels.shape[::-1], interpolation=cv2.INTER_CUBIC)
        image = np.where(outside[..., None], colors, image)
    return image, np.where(outside, np.uint8(0), labels)


def occlude(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Covers part of an image with a rounded shape, whose pixels become background (0).

    The shape is an uneven polygon around a random point, a tenth to a third of the shorter side in radius, in a random
    color that changes linearly across it. Ignored pixels (255) stay ignored.

    Returns:
      New image and [H, W] uint8 labels.
    """
    height, width = labels.shape
    center = rng.uniform(0, (width, height))
    radii = rng.uniform(0.1, 0.33) * min(height, width) * rng.uniform(0.4, 1, _OCCLUDER_CORNERS)
    angles = 2 * np.pi * (np.arange(_OCCLUDER_CORNERS) + rng.uniform(0, 1)) / _OCCLUDER_CORNERS
    corners = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    colors = rng.uniform(0, 255, 3) + rng.uniform(-60, 60, (2, 3))  # at the left and right border

    mask = cv2.fillPoly(np.zeros((height, width), np.uint8), [np.rint(corners).astype(np.int32)], 255)
    mask = cv2.medianBlur(mask, 2 * (min(height, width) // 64) + 1)  # rounds the corners
    mask[labels == IGNORE_ID] = 0
    shade = np.clip(np.linspace(colors[0], colors[1], width), 0, 255).astype(np.uint8)
    image = np.where(mask[..., None] > 0, shade, image)
    return image, np.where(mask > 0, np.uint8(0), labels)
