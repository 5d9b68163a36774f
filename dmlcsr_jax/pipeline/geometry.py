"""From a picture to the network's input and back: one affine map that keeps the aspect ratio.

The published geometry, to the last bit (`dataset/datasets.py` and `utils/transforms.py` of the published code): the
box around the whole picture, widened to the input's aspect ratio, is laid over the input center on center. Its center
is that of the corner pixels' centers, its size one pixel less than the picture's. Sizes are (width, height) here, as in
OpenCV.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dmlcsr_jax.datasets.spec import IGNORE_ID


def whole_image(width: int, height: int, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The box around a whole picture: center (x, y) and scale (width, height), float64 pixels.

    The box has the aspect ratio of `output_size` (width, height) and is the smallest that holds the picture.
    """
    aspect = output_size[0] / output_size[1]
    box_width, box_height = max(width - 1, 1), max(height - 1, 1)
    scale = np.array([max(box_width, box_height * aspect), max(box_height, box_width / aspect)])
    return np.array([(width - 1) / 2, (height - 1) / 2]), scale


def affine_matrix(
    center: Sequence[float],
    scale: Sequence[float],
    rotation_degrees: float,
    output_size: tuple[int, int],
    inverse: bool = False,
) -> np.ndarray:
    """The map from a picture to the network's input, [2, 3] float64: input (x, y) = matrix @ picture (x, y, 1).

    Args:
      center: (x, y) of the box in the picture, which lands in the middle of the input.
      scale: (width, height) of the box, in pixels; its width becomes the input's (the height does not count).
      rotation_degrees: by how much the picture is turned counterclockwise.
      output_size: (width, height) of the input.
      inverse: gives the map from the input to the picture.
    """
    # The published code keeps the three points that fix the map in float32; so do its matrices agree to 1e-15.
    radians = np.pi * rotation_degrees / 180
    half = float(np.float32(scale[0])) * 0.5
    up = np.array([half * np.sin(radians), -half * np.cos(radians)])
    middle = np.array([output_size[0] * 0.5, output_size[1] * 0.5])
    picture = _three_points(np.asarray(center, np.float32), up)
    network = _three_points(middle, np.array([0, -0.5 * output_size[0]]))
    return cv2.getAffineTransform(network, picture) if inverse else cv2.getAffineTransform(picture, network)


def warp_image(image: np.ndarray, matrix: np.ndarray, output_size: tuple[int, int]) -> np.ndarray:
    """[height, width, 3] uint8: the picture under an affine map, bilinear, black outside."""
    # OpenCV's code for four channels is twice as quick as that for three, there and back included, and as exact.
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    four = cv2.warpAffine(four, matrix, output_size, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)


def warp_labels(labels: np.ndarray, matrix: np.ndarray, output_size: tuple[int, int]) -> np.ndarray:
    """[height, width] uint8: the label map under an affine map, nearest neighbor, ignored (255) outside."""
    return cv2.warpAffine(labels, matrix, output_size, flags=cv2.INTER_NEAREST, borderValue=IGNORE_ID)


def whole_image_matrix(width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """[2, 3] float64, the map from a whole image of `width` x `height` to an input of `size` (height, width)."""
    center, scale = whole_image(width, height, size[::-1])
    return affine_matrix(center, scale, 0.0, size[::-1])


def restore_labels(prediction: np.ndarray, width: int, height: int) -> np.ndarray:
    """Labels predicted for the network's input, brought back to the size of the image by nearest neighbor.

    Args:
      prediction: [h, w] class numbers, of an input that shows the whole image, not rotated.
      width: of the image.
      height: likewise.

    Returns:
      [height, width] uint8.
    """
    labels = np.asarray(prediction, np.uint8)
    return restore_crop(labels, whole_image_matrix(width, height, labels.shape), width, height)


def restore_crop(labels: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """[h, w] uint8 labels of an input, brought back to the image by nearest neighbor; 0 outside of the input.

    Args:
      labels: at the size of the input.
      matrix: [2, 3], the map from the image to the input.
      width: of the image.
      height: likewise.

    Returns:
      [height, width] uint8.
    """
    return cv2.warpAffine(labels, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


def _three_points(center: np.ndarray, up: np.ndarray) -> np.ndarray:
    """[3, 2] float32: a point, one that lies `up` from it, and the third corner of a right angle at that one."""
    first, second = center.astype(np.float32), (center + up).astype(np.float32)
    arm = first - second
    return np.stack([first, second, second + np.array([-arm[1], arm[0]], np.float32)])
