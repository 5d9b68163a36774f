"""Transforms of one example: fitting, augmentation, mirroring, colors."""

import dataclasses

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.pipeline import photo_effects, transforms
from dmlcsr_jax.pipeline.transforms import Augmentation

SPEC = get_spec("celebamask_hq")
STILL = Augmentation(scale=0.0, rotation=0.0, flip_probability=0.0)
MIRRORED = Augmentation(scale=0.0, rotation=0.0, flip_probability=1.0)


@pytest.fixture
def face():
    """A smooth image with its labels: left and right eye, and a nose."""
    y, x = np.mgrid[:60, :80]
    image = np.stack([3 * x, 2 * y + x, 200 - 2 * x + y // 2], -1).astype(np.uint8)
    labels = np.ones((60, 80), np.uint8)
    labels[10:25, 50:70] = SPEC.class_id("l_eye")
    labels[10:25, 10:30] = SPEC.class_id("r_eye")
    labels[30:50, 35:40] = SPEC.class_id("nose")
    return image, labels


def augmented(face, augmentation, size=(64, 64), seed=0, flip_table=None):
    return transforms.augmented(
        *face,
        size=size,
        augmentation=augmentation,
        flip_table=SPEC.flip_table() if flip_table is None else flip_table,
        rng=np.random.default_rng(seed),
    )


def test_no_augmentation_is_the_evaluation_geometry(face):
    image, labels = augmented(face, STILL, (48, 72))
    np.testing.assert_array_equal(image, transforms.fit_image(face[0], (48, 72)))
    np.testing.assert_array_equal(labels, transforms.fit_labels(face[1], (48, 72)))
    assert image.shape == (48, 72, 3) and labels.shape == (48, 72)


def test_fitting_keeps_the_aspect_ratio_and_ignores_the_outside(face):
    labels = transforms.fit_labels(face[1], (80, 80))
    assert (labels[:9] == 255).all() and (labels[-9:] == 255).all()  # 60 of 80 rows
    assert (labels[12:68] != 255).all()
    assert (transforms.fit_image(face[0], (80, 80))[:8] == 0).all()


def test_mirroring_swaps_left_and_right_classes(face):
    image, labels = augmented(face, MIRRORED)
    mirrored = face[0][:, ::-1].copy(), SPEC.flip_table()[face[1][:, ::-1]]
    expected_image, expected_labels = augmented(mirrored, STILL)
    assert np.abs(image.astype(int) - expected_image).max() <= 1
    assert np.mean(labels == expected_labels) > 0.99


def test_left_eye_stays_on_the_left_of_the_subject(face):
    for augmentation in (STILL, MIRRORED):
        _, labels = augmented(face, augmentation)
        left, right = (np.mean(np.nonzero(labels == SPEC.class_id(name))[1]) for name in ("l_eye", "r_eye"))
        assert left > right  # the subject's left is on the right of the image


def test_mirroring_twice_is_the_identity(face):
    square = face[0][:, :60].copy(), face[1][:, :60].copy()
    size = (120, 120)
    image, labels = augmented(augmented(square, MIRRORED, size), MIRRORED, size)
    still_image, still_labels = augmented(augmented(square, STILL, size), STILL, size)
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(image[inner].astype(int) - still_image[inner]).max() <= 8
    assert np.mean(labels[inner] == still_labels[inner]) > 0.97


def test_same_generator_same_example(face):
    strong = Augmentation(color_jitter=0.5)
    for a, b in zip(augmented(face, strong, seed=3), augmented(face, strong, seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (augmented(face, strong, seed=3)[0] != augmented(face, strong, seed=4)[0]).any()


def test_image_and_labels_stay_aligned(face):
    """An image colored by its labels still is after any augmentation."""
    colored = np.repeat(face[1][..., None] * 12, 3, -1).astype(np.uint8)
    plain = np.arange(256, dtype=np.uint8)
    for seed in range(20):
        image, labels = augmented((colored, face[1]), Augmentation(), seed=seed, flip_table=plain)
        inside = labels != 255
        wrong = np.abs(image[inside][:, 0].astype(int) - 12 * labels[inside].astype(int)) > 6
        assert wrong.mean() < 0.2  # only along borders, where bilinear resampling mixes


def test_scale_and_rotation_have_the_published_distribution(monkeypatch):
    boxes = []
    original = transforms.geometry.affine_matrix

    def recorded(center, scale, degrees, size):
        boxes.append((scale[0], degrees))
        return original(center, scale, degrees, size)

    monkeypatch.setattr(transforms.geometry, "affine_matrix", recorded)
    image, labels = np.zeros((11, 11, 3), np.uint8), np.zeros((11, 11), np.uint8)
    for seed in range(2000):
        augmented((image, labels), Augmentation(), (8, 8), seed)
    scale, degrees = np.array(boxes).T
    scale /= 10
    assert scale.min() == 0.75 and scale.max() == 1.25
    assert 0.27 < np.mean((scale == 0.75) | (scale == 1.25)) < 0.37  # beyond one std
    assert 0.57 < np.mean(degrees != 0) < 0.63
    assert np.abs(degrees).max() == 60
    assert 27 < degrees[degrees != 0].std() < 31


class TestColors:
    """Bounds of one level: OpenCV rounds the map to 1/1024, and the result to integers."""

    @pytest.fixture
    def image(self):
        """Colors that no factor below clips."""
        return np.random.default_rng(0).integers(70, 150, (16, 16, 3), np.uint8)

    def luma(self, image):
        return image @ np.array([0.299, 0.587, 0.114])

    def angle(self, image):
        """Degrees around the gray axis, of colors that are far from it, and which these are."""
        red, green, blue = np.moveaxis(image.astype(float), -1, 0)
        x, y = (2 * red - green - blue) / np.sqrt(6), (green - blue) / np.sqrt(2)
        return np.degrees(np.arctan2(y, x)), np.hypot(x, y) > 30

    def test_without_change_is_the_identity(self, image):
        np.testing.assert_array_equal(transforms.adjust_colors(image), image)

    @pytest.mark.parametrize("factor", [0.6, 1.4])
    def test_brightness_scales_every_channel(self, image, factor):
        found = transforms.adjust_colors(image, brightness=factor)
        np.testing.assert_allclose(found, factor * image.astype(float), atol=1)
        np.testing.assert_allclose(found.mean(), factor * image.mean(), atol=1)
        (before, saturated), (after, _) = self.angle(image), self.angle(found)
        assert np.abs(after - before)[saturated].max() < 3

    @pytest.mark.parametrize("factor", [0.6, 1.4])
    def test_contrast_scales_around_the_mean_luma(self, image, factor):
        found = transforms.adjust_colors(image, contrast=factor)
        mean = self.luma(image).mean()
        np.testing.assert_allclose(found - mean, factor * (image - mean), atol=1)

    @pytest.mark.parametrize("factor", [0.0, 0.6, 1.4])
    def test_saturation_scales_around_the_luma(self, image, factor):
        found = transforms.adjust_colors(image, saturation=factor)
        luma = self.luma(image)[..., None]
        np.testing.assert_allclose(found - luma, factor * (image - luma), atol=1)

    @pytest.mark.parametrize("degrees", [-36, 20])
    def test_hue_rotates_around_the_gray_axis(self, image, degrees):
        found = transforms.adjust_colors(image, hue=np.radians(degrees))
        (before, saturated), (after, _) = self.angle(image), self.angle(found)
        turned = (after - before + 180) % 360 - 180
        assert saturated.sum() > 20
        np.testing.assert_allclose(turned[saturated], degrees, atol=3)  # a level at a radius of 30 is 2 degrees
        np.testing.assert_allclose(found.mean(-1), image.mean(-1), atol=1)

    @pytest.mark.parametrize("change", [{"saturation": 0.3}, {"saturation": 1.7}, {"hue": 0.6}, {"hue": -0.6}])
    def test_hue_and_saturation_keep_gray(self, change):
        gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=-1)
        found = transforms.adjust_colors(gray, **change)
        np.testing.assert_allclose(found, gray.astype(float), atol=1)


def test_color_jitter_of_strength_0_is_the_identity(face):
    np.testing.assert_array_equal(transforms.jitter_colors(face[0], 0.0, np.random.default_rng(0)), face[0])


def test_color_jitter_stays_within_its_strength(monkeypatch):
    drawn = []
    monkeypatch.setattr(transforms, "adjust_colors", lambda image, **factors: drawn.append(list(factors.values())))
    rng = np.random.default_rng(0)
    for _ in range(500):
        transforms.jitter_colors(np.zeros((1, 1, 3), np.uint8), 0.2, rng)
    low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
    hue = 0.2 * np.radians(36)
    np.testing.assert_allclose(low, [0.8, 0.8, 0.8, -hue], atol=0.005)
    np.testing.assert_allclose(high, [1.2, 1.2, 1.2, hue], atol=0.005)
    assert (low >= [0.8, 0.8, 0.8, -hue]).all() and (high <= [1.2, 1.2, 1.2, hue]).all()


def test_color_jitter_draws_the_same_numbers_at_any_strength():
    ends = []
    for strength in (0.0, 0.3):
        rng = np.random.default_rng(0)
        transforms.jitter_colors(np.zeros((2, 2, 3), np.uint8), strength, rng)
        ends.append(rng.random())
    assert ends[0] == ends[1]


def test_shift_and_zoom_move_image_and_labels_alike():
    labels = np.zeros((60, 60), np.uint8)
    labels[20:40, 20:40] = 1
    face = np.repeat(255 * labels[..., None], 3, 2), labels
    areas, centers = [], []
    moved = Augmentation(scale=0.0, rotation=0.0, flip_probability=0.0, zoom=2.0, shift=0.1)
    for seed in range(40):
        image, found = augmented(face, moved, seed=seed)
        inside = found == 1
        assert ((image[..., 0] > 127) == inside).mean() > 0.99
        areas.append(inside.sum())
        centers.append(np.argwhere(inside).mean(0))
    # The square has 21 of 64 pixels; the box is from half to twice the image.
    assert 10**2 <= min(areas) < 14**2 and 30**2 < max(areas) <= 44**2
    assert np.std(centers, axis=0).min() > 3 and np.abs(np.array(centers) - 31.5).max() < 30


@pytest.mark.parametrize("effect", ["gray", "darkening", "blur", "noise", "compression"])
def test_effects_change_the_image_only(face, effect):
    plain, labels = augmented(face, STILL)
    image, same = augmented(face, dataclasses.replace(STILL, **{effect: 1.0}))
    np.testing.assert_array_equal(same, labels)
    assert image.shape == plain.shape and image.dtype == np.uint8
    difference = np.abs(image.astype(int) - plain)
    assert 0 < difference.mean() < 80


def test_effects_do_what_they_say(face):
    image, rng = face[0], np.random.default_rng(3)
    gray = photo_effects.to_gray(image, rng)
    assert (gray == gray[..., :1]).all()
    assert (photo_effects.darken(image, rng) <= image).all()
    noise = rng.integers(0, 256, (60, 80, 3), np.uint8)
    assert photo_effects.blur(noise, rng).std() < 0.8 * noise.std()
    flat = np.full((200, 200, 3), 128, np.uint8)
    noisy = photo_effects.add_noise(flat, rng)
    assert 0 < noisy.std() <= 12.5 and abs(noisy.mean() - 128) < 1


def test_occluded_pixels_are_background(face):
    plain, labels = augmented(face, STILL)
    labels_with_border = labels.copy()
    labels_with_border[:8] = 255
    image, covered = photo_effects.occlude(plain, labels_with_border, np.random.default_rng(1))
    changed = covered != labels_with_border
    assert changed.any() and (covered[changed] == 0).all()
    assert (covered[:8] == 255).all()
    np.testing.assert_array_equal(image[:8], plain[:8])
    assert (image != plain).any(-1)[changed].mean() > 0.9


def test_surroundings_are_background():
    image, labels = np.full((60, 60, 3), 90, np.uint8), np.full((60, 60), 2, np.uint8)
    labels[:10] = 255  # unknown in the photo itself
    far = Augmentation(scale=0.0, rotation=0.0, flip_probability=0.0, zoom=3.0)
    fills = set()
    for seed in range(20):
        plain, before = augmented((image, labels), far, seed=seed)
        filled, after = augmented((image, labels), dataclasses.replace(far, surroundings=1.0), seed=seed)
        outside = after == 0
        np.testing.assert_array_equal(after[~outside], before[~outside])
        np.testing.assert_array_equal(filled[~outside], plain[~outside])
        assert (before[outside] == 255).all()
        if outside.any():
            assert (after == 255).any()
            fills.add(
                "black" if not filled[outside].any() else "color" if filled[outside].std(0).max() == 0 else "smooth"
            )
    assert fills == {"black", "color", "smooth"}


def test_new_effects_leave_the_published_geometry_alone(face):
    augmentation = Augmentation()
    image, labels = augmented(face, augmentation, seed=5)
    noisy, same = augmented(face, dataclasses.replace(augmentation, noise=1.0), seed=5)
    np.testing.assert_array_equal(same, labels)
    assert 0 < np.abs(noisy.astype(int) - image).mean() < 12


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zoom", 0.5),
        ("scale", 1),
        ("rotation", -1),
        ("rotation_probability", 1.1),
        ("flip_probability", -0.1),
        ("color_jitter", 2),
        ("blur", 1.5),
    ],
)
def test_fields_out_of_range_are_refused(field, value):
    with pytest.raises(FieldError, match=f"{field} is {value}; it must be at least [01]"):
        Augmentation(**{field: value})
