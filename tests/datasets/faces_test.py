"""Faces drawn by code: seeds determine them, every class occurs in its place, and labels match the image."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import faces
from dmlcsr_jax.datasets.celebamask_hq import SPEC
from dmlcsr_jax.datasets.faces.canvas import Canvas, ellipse
from dmlcsr_jax.datasets.faces.pose import Pose

COUNT, SIZE = 60, 128
ALWAYS = ("background", "skin", "nose", "u_lip", "l_lip", "neck", "cloth")
OPTIONAL = ("eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "hair", "hat", "ear_r", "neck_l")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    pairs = [faces.draw_face(seed, SIZE) for seed in range(COUNT)]
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])


def where(labels: np.ndarray, name: str) -> np.ndarray:
    return labels == SPEC.class_id(name)


def test_shapes_types_and_values(drawn):
    images, labels = drawn
    assert images.shape == (COUNT, SIZE, SIZE, 3) and images.dtype == np.uint8
    assert labels.shape == (COUNT, SIZE, SIZE) and labels.dtype == np.uint8
    assert labels.max() < SPEC.num_classes
    assert (images.reshape(COUNT, -1).std(1) > 10).all()


def test_the_seed_determines_the_face(drawn):
    images, labels = drawn
    again = faces.draw_face(7, SIZE)
    np.testing.assert_array_equal(again[0], images[7])
    np.testing.assert_array_equal(again[1], labels[7])
    assert len({image.tobytes() for image in images}) == COUNT


def test_the_seed_gives_the_same_person_at_any_size(drawn):
    _, labels = drawn
    for seed in range(5):
        large = faces.draw_face(seed, 2 * SIZE)[1]
        assert (large[::2, ::2] == labels[seed]).mean() > 0.93


@pytest.mark.parametrize("name", ALWAYS + OPTIONAL)
def test_every_class_occurs_often_and_large_enough(drawn, name):
    pixels = where(drawn[1], name).sum((1, 2))
    assert (pixels >= 20).mean() >= (0.97 if name in ALWAYS else 0.25)
    assert np.median(pixels[pixels > 0]) >= 40


def test_subjects_left_is_on_the_right_of_the_image(drawn):
    columns = np.arange(SIZE)
    for part in ("eye", "brow", "ear"):
        left, right = where(drawn[1], f"l_{part}"), where(drawn[1], f"r_{part}")
        both = left.any((1, 2)) & right.any((1, 2))
        middle = [(side[both] * columns).sum((1, 2)) / side[both].sum((1, 2)) for side in (left, right)]
        assert (middle[0] > middle[1]).all()


def test_vertical_order_of_parts(drawn):
    rows = np.arange(SIZE)[:, None]

    def height(name):
        part = where(drawn[1], name)
        return (part * rows).sum((1, 2)) / np.maximum(part.sum((1, 2)), 1)

    assert (height("u_lip") > height("nose")).mean() > 0.95
    assert (height("l_lip") > height("u_lip")).mean() > 0.95
    assert (height("cloth") > height("neck")).mean() > 0.95
    hatted = where(drawn[1], "hat").any((1, 2))
    assert (height("hat") < height("nose"))[hatted].all()


def test_image_edges_match_label_edges(drawn):
    images, labels = drawn
    gray = images.astype(np.float32).mean(3)
    step = np.abs(np.diff(gray, axis=2))
    border = labels[:, :, 1:] != labels[:, :, :-1]
    assert step[border].mean() > 2.5 * step[~border].mean()
    shifted = np.roll(border, 6, axis=2)
    assert step[border].mean() > 2 * step[shifted & ~border].mean()


def test_color_alone_does_not_determine_the_class(drawn):
    """Predicting each pixel's class from its color alone scores badly, so a model must look at shapes."""
    images, labels = drawn
    bins = (images[..., 0] // 32).astype(int) * 64 + (images[..., 1] // 32).astype(int) * 8 + images[..., 2] // 32
    counts = np.zeros((512, SPEC.num_classes), np.int64)
    np.add.at(counts, (bins[: COUNT // 2].ravel(), labels[: COUNT // 2].ravel()), 1)
    guess = counts.argmax(1)[bins[COUNT // 2 :]]
    truth = labels[COUNT // 2 :]
    hits = np.array([((guess == c) & (truth == c)).sum() for c in range(SPEC.num_classes)])
    sizes = np.array([(guess == c).sum() + (truth == c).sum() for c in range(SPEC.num_classes)])
    assert (2 * hits / np.maximum(sizes, 1))[1:].mean() < 0.3


def test_yaw_shows_more_of_one_side():
    pose = Pose(unit=40, center=(64, 64), roll=0.0, yaw=0.5, pitch=0.0, light=(0.0, 0.0, 1.0))
    eyes = pose.face([(-0.42, 0), (0.42, 0)])[:, 0]
    edges = pose.outline([(-1, 0), (1, 0)])[:, 0]
    assert eyes.mean() > 64 + 5
    assert eyes[0] - edges[0] > edges[1] - eyes[1]


def test_roll_is_clockwise():
    pose = Pose(unit=40, center=(64, 64), roll=0.3, yaw=0.0, pitch=0.0, light=(0.0, 0.0, 1.0))
    left, right = pose.face([(-0.42, 0), (0.42, 0)])
    assert right[1] > left[1]
    x, y = pose.grid(128)
    column, row = (round(float(v)) for v in pose.outline([(0.5, -0.5)])[0])
    assert x[row, column] == pytest.approx(0.5, abs=0.03) and y[row, column] == pytest.approx(-0.5, abs=0.03)


def test_canvas_paints_labels_and_image_together():
    canvas = Canvas(64)
    canvas.paint(ellipse((30, 34), 12, 9), (200, 100, 50), "skin")
    assert where(canvas.label, "skin").sum() == pytest.approx(np.pi * 12 * 9, rel=0.15)
    np.testing.assert_array_equal(canvas.image[0] > 100, where(canvas.label, "skin"))
    canvas.paint(ellipse((30, 34), 30, 3), (0, 0, 250), "nose", on=("skin",))
    assert not (where(canvas.label, "nose") & (canvas.image[2] < 100)).any()
    assert canvas.label[34, 2] == 0
    before = canvas.label.copy()
    canvas.shade(ellipse((30, 34), 12, 9), 0.5, 2.0)
    np.testing.assert_array_equal(canvas.label, before)
    canvas.paint(ellipse((-90, 400), 5, 5), (1, 2, 3), "hair")  # outside the canvas
    np.testing.assert_array_equal(canvas.label, before)
