"""Faces in label maps."""

import cv2
import numpy as np
import pytest

from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.inference.detector import Detection, face_matrix, take_crop
from dmlcsr_jax.inference.finding import (
    face_classes,
    find_faces,
    is_face,
    is_framed,
    tile_matrices,
    without_duplicates,
)
from dmlcsr_jax.pipeline.geometry import whole_image_matrix

SPEC = get_spec("celebamask_hq")
CLASSES = face_classes(SPEC)
SIZE = (128, 128)


@pytest.fixture(scope="module")
def labels():
    return draw_face(3, 128)[1]


def face_box(labels):
    rows, columns = np.nonzero(CLASSES.mask(labels))
    return columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5


def test_classes_of_every_data_set_of_faces():
    for name in ("celebamask_hq", "lapa", "helen"):
        classes = face_classes(get_spec(name))
        assert classes is not None and len(classes.eyes) == 2
    assert {SPEC.class_names[i] for i in CLASSES.face}.isdisjoint(
        {"background", "hair", "hat", "neck", "cloth", "l_ear"}
    )
    assert face_classes(FaceSpec("folder", ("background", "hair"))) is None


def test_box_is_the_face_in_pixels_of_the_image(labels):
    (face,) = find_faces(labels, np.array([[0.5, 0, 10.0], [0, 0.5, -4.0]]), CLASSES)
    expected = (np.array(face_box(labels)) - [10, -4, 10, -4]) / 0.5
    np.testing.assert_allclose(face.box, expected, atol=5)  # small gaps are closed first


@pytest.mark.parametrize("degrees", [-45, -20, 0, 30, 45])
def test_roll_is_the_slope_of_the_eyes(labels, degrees):
    upright = find_faces(labels, whole_image_matrix(128, 128, SIZE), CLASSES)[0].roll
    turn = cv2.getRotationMatrix2D((63.5, 63.5), -degrees, 1.0)  # OpenCV turns counterclockwise
    turned = cv2.warpAffine(labels, turn, SIZE, flags=cv2.INTER_NEAREST)
    (face,) = find_faces(turned, whole_image_matrix(128, 128, SIZE), CLASSES)
    assert abs(face.roll - upright - degrees) < 3


def test_crop_of_a_turned_face_is_upright(labels):
    image = np.repeat(labels[..., None], 3, 2)
    canvas = np.zeros((300, 300, 3), np.uint8)
    canvas[90:218, 60:188] = image
    turn = cv2.getRotationMatrix2D((150, 150), -40, 1.0)
    turned = cv2.warpAffine(canvas, turn, (300, 300), flags=cv2.INTER_NEAREST)
    (face,) = find_faces(turned[..., 0], np.eye(2, 3), CLASSES)
    crop = cv2.warpAffine(turned[..., 0], face_matrix(face, SIZE), SIZE, flags=cv2.INTER_NEAREST)
    (found,) = find_faces(crop, np.eye(2, 3), CLASSES)
    assert abs(found.roll) < 8
    assert is_framed(found, np.eye(2, 3), SIZE)


def test_several_faces_the_largest_first_and_no_specks(labels):
    canvas = np.zeros((256, 256), np.uint8)
    canvas[:128, :128] = labels
    canvas[140:204, 150:214] = labels[::2, ::2]
    canvas[240:250, 10:20] = labels[40:80:4, 40:80:4]
    faces = find_faces(canvas, np.eye(2, 3), CLASSES)
    assert len(faces) == 2
    assert faces[0].box[2] < 128 < faces[1].box[0]


def test_skin_without_features_is_no_face(labels):
    bare = np.where(CLASSES.mask(labels) > 0, np.uint8(SPEC.class_id("skin")), np.uint8(0))
    assert find_faces(bare, np.eye(2, 3), CLASSES) == []
    assert is_face(labels, CLASSES) and not is_face(bare, CLASSES)
    small = np.zeros((1024, 1024), np.uint8)
    small[:128, :128] = labels
    assert not is_face(small, CLASSES)


def test_implausible_faces_are_refused(labels):
    assert find_faces(labels, np.eye(2, 3), CLASSES)
    assert not find_faces(labels[::-1].copy(), np.eye(2, 3), CLASSES)  # the mouth above the eyes
    glasses = np.where(labels == SPEC.class_id("skin"), np.uint8(SPEC.class_id("eye_g")), labels)
    assert not find_faces(glasses, np.eye(2, 3), CLASSES)
    wide = cv2.resize(labels, (512, 128), interpolation=cv2.INTER_NEAREST)
    assert not find_faces(wide, np.eye(2, 3), CLASSES)


def test_framing():
    whole = whole_image_matrix(160, 160, SIZE)
    assert is_framed(Detection((30, 37, 130, 137)), whole, SIZE)  # as in the data sets
    assert not is_framed(Detection((60, 67, 100, 107)), whole, SIZE)  # small
    assert not is_framed(Detection((-40, -30, 200, 210)), whole, SIZE)  # large
    assert not is_framed(Detection((30, 37, 130, 137), roll=30), whole, SIZE)
    assert not is_framed(Detection((0, 0, 90, 90)), whole, SIZE)  # in a corner


def test_tiles_cover_the_image_twice_as_large():
    matrix = whole_image_matrix(64, 64, SIZE)
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    tiles = tile_matrices(matrix, SIZE, 2)
    assert len(tile_matrices(matrix, SIZE, 3)) == 25
    assert len(tiles) == 9
    inverse = [cv2.invertAffineTransform(tile) for tile in tiles]
    corners = np.array([m @ (x, y, 1) for m in inverse for x in (0, 127) for y in (0, 127)])
    np.testing.assert_allclose((corners.min(0), corners.max(0)), ((0, 0), (63, 63)), atol=1)
    sides = [np.linalg.norm(m[:, 0]) * 127 for m in inverse]
    np.testing.assert_allclose(sides, 31.5, atol=1)
    assert take_crop(image, tiles[4], SIZE).std() > 10


def test_duplicates_are_dropped():
    first, inside, beside = (Detection(box) for box in ((0, 0, 100, 100), (5, 10, 60, 90), (110, 0, 200, 100)))
    assert without_duplicates([first, inside, beside]) == [first, beside]
