"""Masks, overlays and summaries of a parsed image."""

import json

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceCrop, ParsedFace

SPEC = get_spec("celebamask_hq")
LABELS = np.zeros((60, 80), np.uint8)
LABELS[20:40, 30:50] = SPEC.class_id("skin")
LABELS[25:28, 33:37] = SPEC.class_id("r_eye")
LABELS[25:28, 43:47] = SPEC.class_id("l_eye")
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
CROP = FaceCrop(None, np.eye(2, 3), LABELS)
PROBABILITIES = np.eye(19, dtype=np.float32)[LABELS]
FACE = ParsedFace(IMAGE, LABELS, SPEC, (CROP,), lambda weights: PROBABILITIES @ weights)


def test_masks_grow_shrink_and_soften():
    hard = FACE.mask("l_eye")
    assert hard.dtype == bool and hard.sum() == 12
    grown, shrunk = FACE.mask("l_eye", dilate=2), FACE.mask("l_eye", dilate=-1)
    assert (grown & hard).sum() == 12 and grown[23:30, 41:49].sum() == grown.sum() > 12 and shrunk.sum() == 2
    soft = FACE.mask("skin", "l_eye", "r_eye", feather=2.0)
    assert soft.dtype == np.float32 and soft.min() >= 0 and soft.max() <= 1
    assert soft[30, 40] > 0.99 and 0.4 < soft[30, 30] < 0.7 and 0 < soft[30, 27] < 0.4
    assert soft.sum() == pytest.approx(400, rel=1e-3)


def test_without_names_a_mask_is_all_but_the_background():
    np.testing.assert_array_equal(FACE.mask(), LABELS > 0)


def test_wrong_arguments_name_the_right_ones():
    with pytest.raises(ValueError, match="l_eye"):
        FACE.mask("left_eye")
    with pytest.raises(ValueError, match="feather"):
        FACE.mask("skin", feather=-1)
    with pytest.raises(ValueError, match=r"opacity is 5; it must be in 0\.\.1"):
        FACE.overlay(5)
    with pytest.raises(UserError, match="celebamask_hq, lapa"):
        FACE.remapped("lapa2")


def test_overlay_of_some_parts():
    shown = FACE.overlay(1.0, legend=False, names=["l_eye"])
    changed = (shown != IMAGE).any(axis=-1)
    np.testing.assert_array_equal(FACE.overlay(legend=False, names=[]), IMAGE)
    np.testing.assert_array_equal(changed, FACE.mask("l_eye"))
    assert (shown[changed] == SPEC.palette[SPEC.class_id("l_eye")]).all()


def test_a_face_made_by_hand_has_no_probabilities():
    with pytest.raises(ValueError, match="FaceParser"):
        _ = ParsedFace(IMAGE, LABELS, SPEC).probabilities


def test_remapping_renames_labels_crops_and_probabilities():
    lapa = FACE.remapped("lapa")
    np.testing.assert_array_equal(lapa.mask("right_eye"), FACE.mask("l_eye"))
    np.testing.assert_array_equal(lapa.crops[0].labels, lapa.labels)
    np.testing.assert_array_equal(lapa.probabilities.argmax(-1), lapa.labels)
    np.testing.assert_allclose(lapa.probabilities.sum(-1), 1)
    assert FACE.labels is LABELS and FACE.names == SPEC.class_names
    np.testing.assert_array_equal(lapa.remapped(SPEC).labels, LABELS)


def test_summary_is_json_and_right():
    summary = json.loads(json.dumps(FACE.summary()))
    assert (summary["width"], summary["height"]) == (80, 60)
    assert summary["parts"]["l_eye"] == {"pixels": 12, "share": 0.0025, "box": [43, 25, 47, 28]}
    assert sum(part["pixels"] for part in summary["parts"].values()) == 4800
    (face,) = summary["faces"]
    assert face["box"] == [0, 0, 80, 60] and face["matrix"] == [[1, 0, 0], [0, 1, 0]] and face["score"] is None
