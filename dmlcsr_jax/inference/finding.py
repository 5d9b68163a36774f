"""Faces in label maps: the network as its own face detector."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.inference.detector import Detection, face_matrix

# The parts between chin and forehead, in the names of CelebAMask-HQ, LaPa and Helen. The box around them has the size
# and place of a detector's box: measured on 300 images of CelebAMask-HQ, the image's side is 1.59 ± 0.12 times the
# geometric mean of the box's sides, and its center lies 0.08 ± 0.05 box heights above the box's.
_SKIN = ("skin", "face")
_EYES = ("l_eye", "r_eye", "left_eye", "right_eye")
_GLASSES = ("eye_g",)
_NOSE = ("nose",)
_MOUTH = ("mouth", "u_lip", "l_lip", "upper_lip", "inner_mouth", "lower_lip")
_OTHERS = ("l_brow", "r_brow", "left_eyebrow", "right_eyebrow")

_SMALLEST_SHARE = 0.15  # of the largest face's height
_SMALLEST_SIDE = 12  # pixels of the network's input, along both axes of the box
_GAP = 32  # parts closer than this fraction of the input's side are one face, such as eyes behind a fringe
_SAME = 0.3  # intersection over union of two boxes around the same face
_LEAST_FACE = 0.05  # share of a crop
# Bounds for what looks like a face: the share of the box that it covers, the share of skin in it, and the width of the
# box over its height (0.73 ± 0.07 on the same images). They are wide, for turned faces, sunglasses and hands.
_COVER, _SKIN_SHARE, _ASPECT = 0.5, 0.35, (0.45, 1.6)
# What training shows the network: a face in a crop of this share of its own, turned by this much, and this far from the
# center, relative to the side.
_SCALES, _DEGREES, _OFFSET = (0.65, 1.5), 20.0, 0.25


class FaceClasses(NamedTuple):
    """Class numbers of the parts that make a face.

    Attributes:
      face: all of them.
      skin: the skin alone.
      eyes: both eyes.
      groups: eyes with glasses, nose, and mouth with lips.
    """

    face: np.ndarray
    skin: np.ndarray
    eyes: np.ndarray
    groups: tuple[np.ndarray, ...]

    def mask(self, labels: np.ndarray) -> np.ndarray:
        """[H, W] uint8 labels -> [H, W] uint8, 1 on a face."""
        table = np.zeros(256, np.uint8)
        table[self.face] = 1
        return cv2.LUT(labels, table)


def face_classes(spec: FaceSpec) -> FaceClasses | None:
    """The parts of a face among the classes of a data set; None if it has no skin, or no eyes, nose or mouth."""

    def numbers(*names: str) -> np.ndarray:
        return np.array([spec.class_id(name) for name in names if name in spec.class_names], int)

    groups = numbers(*_EYES, *_GLASSES), numbers(*_NOSE), numbers(*_MOUTH)
    if not numbers(*_SKIN).size or not all(group.size for group in groups):
        return None
    face = np.concatenate([numbers(*_SKIN, *_OTHERS), *groups])
    return FaceClasses(face, numbers(*_SKIN), numbers(*_EYES), groups)


def find_faces(labels: np.ndarray, matrix: np.ndarray, classes: FaceClasses) -> list[Detection]:
    """The connected faces of a label map, the largest first.

    Args:
      labels: [h, w] uint8 class numbers, the network's output for a crop.
      matrix: [2, 3], the map from the image to the crop.
      classes: of the labels.

    Returns:
      Boxes in pixels of the image, as large as in the crop even if that is rotated. The roll is the slope between the
      eyes if both are visible, else 0.
    """
    mask = classes.mask(labels)
    gap = max(1, min(labels.shape) // _GAP)
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
    _, components, stats, _ = cv2.connectedComponentsWithStats(joined)
    inverse = cv2.invertAffineTransform(matrix)
    scale = np.sqrt(abs(np.linalg.det(inverse[:, :2])))
    faces = []
    for number, (x, y, width, height, _) in enumerate(stats[1:], 1):
        if min(width, height) < _SMALLEST_SIDE:
            continue
        part = np.s_[y : y + height, x : x + width]
        inside = np.where(components[part] == number, labels[part], np.uint8(0))
        if not is_face(inside, classes, least=_COVER):
            continue
        roll = _roll(inside, inverse, classes)
        if _is_plausible(inside, roll, classes):
            center = inverse @ (x + (width - 1) / 2, y + (height - 1) / 2, 1)
            half = scale * np.array([width, height]) / 2
            (left, top), (right, bottom) = (center - half).tolist(), (center + half).tolist()
            faces.append(Detection((left, top, right, bottom), roll=roll))
    faces.sort(key=lambda face: -_height(face))
    return [face for face in faces if _height(face) >= _SMALLEST_SHARE * _height(faces[0])]


def is_face(labels: np.ndarray, classes: FaceClasses, *, least: float = _LEAST_FACE) -> bool:
    """Whether a label map shows eyes (or glasses), nose and mouth, and enough of all parts of a face together."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return all(counts[group].sum() for group in classes.groups) and counts[classes.face].sum() >= least * labels.size


def is_framed(face: Detection, matrix: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether a crop, [2, 3] and `size` (height, width), shows a face about as large, upright and centered as training.

    Parsing the face in a crop of its own would then gain nothing.
    """
    own = np.vstack([face_matrix(face, size), (0, 0, 1)])
    a, b, c, d, x, y = (np.vstack([matrix, (0, 0, 1)]) @ np.linalg.inv(own))[:2].T.ravel()
    center = np.array([size[1], size[0]]) / 2
    offset = np.abs(np.array([[a, c], [b, d]]) @ center + (x, y) - center) / (size[1], size[0])
    scale, degrees = np.hypot(a, b), np.degrees(np.arctan2(b, a))
    return bool(_SCALES[0] <= scale <= _SCALES[1] and abs(degrees) <= _DEGREES and offset.max() <= _OFFSET)


def without_duplicates(faces: Iterable[Detection]) -> list[Detection]:
    """The faces without those that overlap a larger one, such as the part of it that another crop shows."""
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -_area(face.box)):
        if all(_overlap(face.box, other.box) < _SAME for other in kept):
            kept.append(face)
    return kept


def tile_matrices(matrix: np.ndarray, size: tuple[int, int], zoom: int) -> list[np.ndarray]:
    """Crops of 1 / `zoom` of the side, each half over the next, that cover what `matrix` shows at `size`.

    Returns:
      (2 `zoom` - 1)^2 matrices [2, 3].
    """
    tiles = []
    for top in range(2 * zoom - 1):
        for left in range(2 * zoom - 1):
            tile = zoom * matrix
            tile[:, 2] -= left / 2 * size[1], top / 2 * size[0]
            tiles.append(tile)
    return tiles


def _is_plausible(labels: np.ndarray, roll: float, classes: FaceClasses) -> bool:
    """Whether eyes, nose and mouth, all of which are there, lie and are proportioned as in a face turned by `roll`."""
    height, width = labels.shape
    counts = np.bincount(labels.ravel(), minlength=256)
    down = -np.sin(np.radians(roll)), np.cos(np.radians(roll))
    depths = [np.argwhere(np.isin(labels, group))[:, ::-1].mean(0) @ down for group in classes.groups]
    return (
        _ASPECT[0] <= width / height <= _ASPECT[1]
        and counts[classes.skin].sum() >= _SKIN_SHARE * counts[classes.face].sum()
        and all(upper < lower for upper, lower in itertools.pairwise(depths))
    )


def _roll(labels: np.ndarray, inverse: np.ndarray, classes: FaceClasses) -> float:
    """Clockwise angle in degrees between a horizontal line and the line through the eyes; within -90 and 90."""
    centers = [np.argwhere(labels == eye)[:, ::-1].mean(0) for eye in classes.eyes if (labels == eye).any()]
    if len(centers) != 2:
        return 0.0
    left, right = sorted((center @ inverse[:, :2].T for center in centers), key=lambda point: point[0])
    x, y = right - left
    return float(np.degrees(np.arctan2(y, x)))


def _height(face: Detection) -> float:
    return face.box[3] - face.box[1]


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union, or 1 if one center lies in the middle of the other box."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = _area(a), _area(b)
    return max(shared / (sum(areas) - shared), shared / min(areas) - 0.5)


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
