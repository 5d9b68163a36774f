"""Finds and parses faces with the network alone: the whole image first, then its parts, then each face by itself."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from dmlcsr_jax.inference.detector import Detection, face_matrix
from dmlcsr_jax.inference.face import FaceCrop
from dmlcsr_jax.inference.finding import (
    FaceClasses,
    find_faces,
    is_face,
    is_framed,
    tile_matrices,
    without_duplicates,
)
from dmlcsr_jax.pipeline.geometry import whole_image_matrix

Size: TypeAlias = tuple[int, int]  # (height, width) of the network's input
Place: TypeAlias = tuple[Detection | None, np.ndarray]  # a face and the matrix of its crop
Crops: TypeAlias = tuple[FaceCrop, ...]
Parse: TypeAlias = Callable[[Sequence[np.ndarray], Sequence[Sequence[Place]]], list[Crops]]

_SMALL = 0.35  # share of the side; if no face is larger, faces are also looked for in smaller parts of the image
_ZOOMS = (2, 3)
_MARGIN = 1.25  # shows more of the hair than the crops of the data sets


def whole_place(image: np.ndarray, size: Size) -> Place:
    """The crop that shows a whole image."""
    return None, whole_image_matrix(image.shape[1], image.shape[0], size)


def own_places(faces: Iterable[Detection], size: Size, margin: float = 1.0) -> list[Place]:
    """The crops of faces, the largest last; `margin` is a factor of their sides."""
    places: list[Place] = [(face, face_matrix(face, size, margin)) for face in faces]
    return sorted(places, key=lambda place: -_zoom(place[1]))


def search_faces(images: Sequence[np.ndarray], parse: Parse, classes: FaceClasses, size: Size) -> list[Crops]:
    """Finds and parses the faces of images.

    Args:
      images: [H, W, 3] uint8 RGB each.
      parse: parses the given crops of each image.
      classes: the network's classes that make a face.
      size: of the network's input.

    Returns:
      The faces of each image, the largest last; none if the network finds none. A single face that fills its image as
      in the data sets has the whole image as its crop.
    """
    whole = [crop for (crop,) in parse(images, [[whole_place(image, size)] for image in images])]
    found = _look_closer(images, whole, parse, classes, size)
    framed = [
        len(faces) == 1 and is_framed(faces[0], crop.matrix, size) for faces, crop in zip(found, whole, strict=True)
    ]
    others = [[] if done else faces for faces, done in zip(found, framed, strict=True)]
    parsed = _parse_faces(images, others, parse, classes, size)
    return [
        (FaceCrop(faces[0], crop.matrix, crop.labels),) if done else own
        for faces, crop, own, done in zip(found, whole, parsed, framed, strict=True)
    ]


def _look_closer(
    images: Sequence[np.ndarray], whole: Sequence[FaceCrop], parse: Parse, classes: FaceClasses, size: Size
) -> list[list[Detection]]:
    """The faces in the labels of whole images and, as long as all are small, of their halves and thirds."""
    found = [find_faces(crop.labels, crop.matrix, classes) for crop in whole]
    for zoom in _ZOOMS:
        small = [i for i, crop in enumerate(whole) if _are_small(found[i], crop.matrix, zoom, size)]
        parts = [[(None, tile) for tile in tile_matrices(whole[i].matrix, size, zoom)] for i in small]
        for i, crops in zip(small, parse([images[i] for i in small], parts), strict=True):
            more = [face for crop in crops for face in find_faces(crop.labels, crop.matrix, classes)]
            found[i] = without_duplicates([*found[i], *more])
    return found


def _are_small(faces: Sequence[Detection], matrix: np.ndarray, zoom: int, size: Size) -> bool:
    """Whether all faces would be small in parts of 2 / `zoom` of the side as well."""
    return all(_zoom(matrix) * zoom**2 / 4 < _SMALL**2 * _zoom(face_matrix(face, size)) for face in faces)


def _parse_faces(
    images: Sequence[np.ndarray], found: Sequence[Sequence[Detection]], parse: Parse, classes: FaceClasses, size: Size
) -> list[Crops]:
    """Parses each face in a crop of its own, the largest last.

    The crop of a face that turns out too large, too small, turned or off-center is corrected once. Crops that still do
    not show a face well are dropped: what looked like one from afar was none.
    """
    good: list[list[FaceCrop]] = [[] for _ in images]
    faces = [list(own) for own in found]
    for _ in range(2):
        crops = parse(images, [own_places(own, size, _MARGIN) for own in faces])
        faces = [[] for _ in images]
        for i, crop in ((i, crop) for i, own in enumerate(crops) for crop in own):
            inside = find_faces(crop.labels, crop.matrix, classes) if is_face(crop.labels, classes) else []
            if inside and is_framed(inside[0], crop.matrix, size):
                good[i].append(FaceCrop(inside[0], crop.matrix, crop.labels))
            elif inside:
                faces[i].append(inside[0])
    return [tuple(sorted(_distinct(own), key=lambda crop: -_zoom(crop.matrix))) for own in good]


def _distinct(crops: Sequence[FaceCrop]) -> list[FaceCrop]:
    """One crop per face: two faces seen from afar may turn out to be the same once their crops are corrected."""
    by_face = {crop.face: crop for crop in crops if crop.face}
    return [by_face[face] for face in without_duplicates(by_face)]


def _zoom(matrix: np.ndarray) -> float:
    """Pixels of the input per pixel of the image."""
    return abs(float(np.linalg.det(matrix[:, :2])))
