"""The affine map between an image and the network's input; it keeps the aspect ratio.

The geometry is exactly the published one (`dataset/datasets.py` and `utils/transforms.py` of the published code): the
box around the whole image, extended to the input's aspect ratio, is mapped to the input, center to center. Its center
is the mean of the corner pixels' centers, and its size is one pixel less than the image's. Sizes are (width, height)
here, as in OpenCV, except where a docstring says otherwise.
"""

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np

from dmlcsr_jax.types import IGNORE_ID

Point: TypeAlias = Sequence[float] | np.ndarray


def whole_image(width: int, height: int, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The box around a whole image: center (x, y) and scale (width, height), float64 pixels.

    It is the smallest box that contains the image and has the aspect ratio of `output_size` (width, height).
    """
    aspect = output_size[0] / output_size[1]
    box_width, box_height = max(width - 1, 1), max(height - 1, 1)
    scale = np.array([max(box_width, box_height * aspect), max(box_height, box_width / aspect)])
    return np.array([(width - 1) / 2, (height - 1) / 2]), scale


def affine_matrix(
    center: Point,
    scale: Point,
    rotation_degrees: float,
    output_size: tuple[int, int],
    inverse: bool = False,
) -> np.ndarray:
    """The map from an image to the network's input, [2, 3] float64: input (x, y) = matrix @ image (x, y, 1).

    Args:
      center: (x, y) of the box in the image; mapped to the center of the input.
      scale: (width, height) of the box in pixels; the width is mapped to the input's width, the height is unused.
      rotation_degrees: counterclockwise rotation of the image.
      output_size: (width, height) of the input.
      inverse: if True, returns the map from the input to the image.
    """
    # The published code stores the three points that define the map in float32; doing so too, matrices agree to 1e-15.
    radians = np.pi * rotation_degrees / 180
    half = float(np.float32(scale[0])) * 0.5
    up = np.array([half * np.sin(radians), -half * np.cos(radians)])
    middle = np.array([output_size[0] * 0.5, output_size[1] * 0.5])
    source = _three_points(np.asarray(center, np.float32), up)
    target = _three_points(middle, np.array([0, -0.5 * output_size[0]]))
    return cv2.getAffineTransform(target, source) if inverse else cv2.getAffineTransform(source, target)


def warp_image(image: np.ndarray, matrix: np.ndarray, output_size: tuple[int, int]) -> np.ndarray:
    """Applies an affine map to an image [H, W, 3] uint8: bilinear, black outside of the image."""
    # OpenCV's four-channel code is twice as fast as its three-channel code, conversions included, and as exact.
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    four = cv2.warpAffine(four, matrix, output_size, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)


def warp_labels(labels: np.ndarray, matrix: np.ndarray, output_size: tuple[int, int]) -> np.ndarray:
    """Applies an affine map to labels [H, W] uint8: nearest neighbor, 255 (ignored) outside of the image."""
    return cv2.warpAffine(labels, matrix, output_size, flags=cv2.INTER_NEAREST, borderValue=IGNORE_ID)


def whole_image_matrix(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """[2, 3] float64, the map from a whole image of `width` x `height` to an input of `size` (height, width)."""
    output_size = size[1], size[0]
    center, scale = whole_image(width, height, output_size)
    return affine_matrix(center, scale, 0.0, output_size)


def restore_labels(prediction: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resamples labels predicted for the network's input to the size of the image, by nearest neighbor.

    The published geometry maps the image's last row and column just outside of the input, where labels are 0.

    Args:
      prediction: [h, w] class numbers for an input that shows the whole image, not rotated.
      width: of the image.
      height: of the image.

    Returns:
      [height, width] uint8.
    """
    labels = np.asarray(prediction, np.uint8)
    rows, columns = labels.shape
    return _restore(labels, whole_image_matrix(width, height, (rows, columns)), width, height)


def restore_crop(labels: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Maps labels of an input back to the image, by nearest neighbor; 0 outside of the input.

    If `matrix` is that of the whole image, the input's last row and column reach one pixel further, to cover the image
    to its edges.

    Args:
      labels: [h, w] uint8, at the size of the input.
      matrix: [2, 3], the map from the image to the input.
      width: of the image.
      height: of the image.

    Returns:
      [height, width] uint8.
    """
    rows, columns = labels.shape
    if np.array_equal(matrix, whole_image_matrix(width, height, (rows, columns))):
        labels = cv2.copyMakeBorder(labels, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    return _restore(labels, matrix, width, height)


def _restore(labels: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.warpAffine(labels, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


def _three_points(center: np.ndarray, up: np.ndarray) -> np.ndarray:
    """[3, 2] float32: `center`, `center + up`, and a third point that completes a right angle at the second."""
    first, second = center.astype(np.float32), (center + up).astype(np.float32)
    arm = first - second
    return np.stack([first, second, second + np.array([-arm[1], arm[0]], np.float32)])
