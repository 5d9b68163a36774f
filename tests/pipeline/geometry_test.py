"""The affine map: the published numbers, and the way back."""

import pathlib

import cv2
import numpy as np
import pytest

from dmlcsr_jax.pipeline import geometry

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "evaluation.npz")
SIZE = (113, 113)  # of the golden inputs
# The golden values come from OpenCV 5; OpenCV 4 rounds the weights of its warps more coarsely.
OPENCV_5 = int(cv2.__version__.split(".")[0]) >= 5
LEVELS = 1 if OPENCV_5 else 3


def golden_box(factor: float = 1.0):
    height, width = GOLDEN["image_bgr"].shape[:2]
    center, scale = geometry.whole_image(width, height, SIZE)
    return center, scale * factor


def test_published_matrix_of_the_whole_image():
    np.testing.assert_allclose(geometry.affine_matrix(*golden_box(), 0.0, SIZE), GOLDEN["eval_matrix"], atol=1e-9)


def test_published_matrix_scaled_and_rotated():
    box = golden_box(float(GOLDEN["train_scale_factor"]))
    matrix = geometry.affine_matrix(*box, float(GOLDEN["train_rotation_degrees"]), SIZE)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix, GOLDEN["train_matrix"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["eval", "train"])
def test_published_inputs(name):
    warped = geometry.warp_image(GOLDEN["image_bgr"], GOLDEN[f"{name}_matrix"], SIZE)
    difference = np.abs(warped.astype(int) - GOLDEN[f"{name}_input_bgr"])
    assert difference.max() <= LEVELS


@pytest.mark.parametrize("data_set", ["helen", "celebamask"])
@pytest.mark.parametrize("number", range(4))
def test_published_labels_restored_to_image_size(data_set, number):
    height, width = GOLDEN[f"{data_set}_label_{number}"].shape
    restored = geometry.restore_labels(GOLDEN[f"{data_set}_pred_{number}"], width, height)
    different = np.count_nonzero(restored != GOLDEN[f"{data_set}_restored_{number}"])
    assert different <= (0 if OPENCV_5 else 0.003 * restored.size)


@pytest.mark.parametrize("size", [(97, 97), (64, 96), (128, 40)])
@pytest.mark.parametrize("degrees", [0.0, 31.0, -75.0])
def test_inverse_map(size, degrees):
    center, scale = geometry.whole_image(150, 90, size)
    there = np.vstack([geometry.affine_matrix(center, scale, degrees, size), [0, 0, 1]])
    back = np.vstack([geometry.affine_matrix(center, scale, degrees, size, inverse=True), [0, 0, 1]])
    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-4)  # points are float32 pixels


@pytest.mark.parametrize(("width", "height"), [(150, 90), (90, 150), (100, 100), (1, 1), (300, 2)])
@pytest.mark.parametrize("size", [(97, 97), (64, 96), (128, 40)])
def test_box_is_the_smallest_of_its_aspect_that_contains_the_image(width, height, size):
    center, scale = geometry.whole_image(width, height, size)
    np.testing.assert_allclose(center, [(width - 1) / 2, (height - 1) / 2])
    np.testing.assert_allclose(scale[0] / scale[1], size[0] / size[1])
    slack = scale - np.maximum([width - 1, height - 1], 1)
    np.testing.assert_allclose(slack.min(), 0, atol=1e-9)


def test_positive_rotation_is_counterclockwise():
    center, scale = geometry.whole_image(101, 101, (101, 101))
    x, y = geometry.affine_matrix(center, scale, 90.0, (101, 101)) @ [100, 50, 1]  # center of the right side
    np.testing.assert_allclose([x, y], [50.5, 0], atol=1e-3)  # points are float32 pixels


@pytest.mark.parametrize("shape", [(96, 64), (40, 128), (97, 97)])
@pytest.mark.parametrize(("width", "height"), [(150, 90), (64, 200), (31, 31)])
def test_restored_labels_match_those_of_the_image(shape, width, height):
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2, : width // 2] = 1
    labels[height // 2 :, width // 2 :] = 2
    size = shape[::-1]
    matrix = geometry.affine_matrix(*geometry.whole_image(width, height, size), 0.0, size)
    restored = geometry.restore_labels(geometry.warp_labels(labels, matrix, size), width, height)
    assert restored.shape == (height, width)
    assert restored.dtype == np.uint8
    assert np.mean(restored == labels) > 0.93  # except along borders


def test_outside_of_the_image_is_black_and_ignored():
    matrix = np.array([[1.0, 0, 4], [0, 1, 0]])
    assert (geometry.warp_labels(np.full((4, 4), 3, np.uint8), matrix, (12, 4))[:, :3] == 255).all()
    assert (geometry.warp_image(np.full((4, 4, 3), 9, np.uint8), matrix, (12, 4))[:, :3] == 0).all()
