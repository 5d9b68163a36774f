"""What happens to one example: fitting, varying, mirroring, colors, normalization."""

import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.pipeline import transforms
from dmlcsr_jax.pipeline.transforms import Augmentation
from dmlcsr_jax.types import Preprocessing

SPEC = get_spec("celebamask_hq")
STILL = Augmentation(scale=0.0, rotation=0.0, flip_probability=0.0)
MIRRORED = Augmentation(scale=0.0, rotation=0.0, flip_probability=1.0)


@pytest.fixture
def face():
    """A smooth picture with its labels: eyes, left and right, and a nose."""
    y, x = np.mgrid[:60, :80]
    image = np.stack([3 * x, 2 * y + x, 200 - 2 * x + y // 2], -1).astype(np.uint8)
    labels = np.ones((60, 80), np.uint8)
    labels[10:25, 50:70] = SPEC.class_id("l_eye")
    labels[10:25, 10:30] = SPEC.class_id("r_eye")
    labels[30:50, 35:40] = SPEC.class_id("nose")
    return image, labels


def varied(face, augmentation, size=(64, 64), seed=0):
    return transforms.augmented(*face, size, augmentation, SPEC.flip_table(), np.random.default_rng(seed))


def test_no_augmentation_is_the_evaluation_geometry(face):
    image, labels = varied(face, STILL, (48, 72))
    np.testing.assert_array_equal(image, transforms.fit_image(face[0], (48, 72)))
    np.testing.assert_array_equal(labels, transforms.fit_labels(face[1], (48, 72)))
    assert image.shape == (48, 72, 3) and labels.shape == (48, 72)


def test_fitting_keeps_the_aspect_and_ignores_what_lies_outside(face):
    labels = transforms.fit_labels(face[1], (80, 80))
    assert (labels[:9] == 255).all() and (labels[-9:] == 255).all()  # 60 of 80 rows
    assert (labels[12:68] != 255).all()
    assert (transforms.fit_image(face[0], (80, 80))[:8] == 0).all()


def test_mirroring_is_that_of_the_picture_with_left_and_right_exchanged(face):
    image, labels = varied(face, MIRRORED)
    mirrored = face[0][:, ::-1].copy(), SPEC.flip_table()[face[1][:, ::-1]]
    expected_image, expected_labels = varied(mirrored, STILL)
    assert np.abs(image.astype(int) - expected_image).max() <= 1
    assert np.mean(labels == expected_labels) > 0.99


def test_left_eye_stays_on_the_left_of_the_subject(face):
    for augmentation in (STILL, MIRRORED):
        _, labels = varied(face, augmentation)
        left, right = (np.mean(np.nonzero(labels == SPEC.class_id(name))[1]) for name in ("l_eye", "r_eye"))
        assert left > right  # the subject's left is the right of the picture


def test_mirroring_twice_changes_nothing(face):
    square = face[0][:, :60].copy(), face[1][:, :60].copy()
    size = (120, 120)
    image, labels = varied(varied(square, MIRRORED, size), MIRRORED, size)
    still_image, still_labels = varied(varied(square, STILL, size), STILL, size)
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(image[inner].astype(int) - still_image[inner]).max() <= 8
    assert np.mean(labels[inner] == still_labels[inner]) > 0.97


def test_same_generator_same_example(face):
    strong = Augmentation(color_jitter=0.5)
    for a, b in zip(varied(face, strong, seed=3), varied(face, strong, seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (varied(face, strong, seed=3)[0] != varied(face, strong, seed=4)[0]).any()


def test_picture_and_labels_stay_together(face):
    """Colored by its labels, a picture must stay so under every variation."""
    colored = np.repeat(face[1][..., None] * 12, 3, -1).astype(np.uint8)
    plain = np.arange(256, dtype=np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image, labels = transforms.augmented(colored, face[1], (64, 64), Augmentation(), plain, rng)
        inside = labels != 255
        wrong = np.abs(image[inside][:, 0].astype(int) - 12 * labels[inside].astype(int)) > 6
        assert wrong.mean() < 0.2  # only along the seams, where bilinear mixes


def test_scale_and_rotation_are_as_often_and_as_strong_as_published(monkeypatch):
    boxes = []
    original = transforms.geometry.affine_matrix

    def recorded(center, scale, degrees, size):
        boxes.append((scale[0], degrees))
        return original(center, scale, degrees, size)

    monkeypatch.setattr(transforms.geometry, "affine_matrix", recorded)
    image, labels = np.zeros((11, 11, 3), np.uint8), np.zeros((11, 11), np.uint8)
    for seed in range(2000):
        varied((image, labels), Augmentation(), (8, 8), seed)
    scale, degrees = np.array(boxes).T
    scale /= 10
    assert scale.min() == 0.75 and scale.max() == 1.25
    assert 0.27 < np.mean((scale == 0.75) | (scale == 1.25)) < 0.37  # beyond one deviation
    assert 0.57 < np.mean(degrees != 0) < 0.63
    assert np.abs(degrees).max() == 60
    assert 27 < degrees[degrees != 0].std() < 31


def test_color_jitter_changes_light_and_not_shape(face):
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(transforms.jitter_colors(face[0], 0.0, rng), face[0])
    changed = transforms.jitter_colors(face[0], 0.5, rng)
    assert changed.shape == face[0].shape and changed.dtype == np.uint8
    assert (changed != face[0]).any()


def test_color_jitter_keeps_grey_grey_and_stays_moderate():
    gray = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(50):
        changed = transforms.jitter_colors(gray, 0.2, np.random.default_rng(seed)).astype(int)
        assert np.ptp(changed[0, 0]) <= 1  # saturation and hue do nothing to gray
        assert changed.min() >= 79 and changed.max() <= 121


def test_color_jitter_draws_the_same_whatever_its_strength():
    ends = []
    for strength in (0.0, 0.3):
        rng = np.random.default_rng(0)
        transforms.jitter_colors(np.zeros((2, 2, 3), np.uint8), strength, rng)
        ends.append(rng.random())
    assert ends[0] == ends[1]


def test_normalize_by_convention():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    preprocessing = Preprocessing("RGB", (0.5, 0.4, 0.3), (0.2, 0.1, 0.3))
    expected = (images / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.3]
    np.testing.assert_allclose(normalize(images, preprocessing), expected, rtol=1e-5, atol=1e-5)
    swapped = preprocessing._replace(channel_order="BGR")
    expected = (images[..., ::-1] / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.3]
    np.testing.assert_allclose(normalize(images, swapped), expected, rtol=1e-5, atol=1e-5)
    half = normalize(images, preprocessing, jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
