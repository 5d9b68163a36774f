"""Scores equal the published evaluation's, and say None where there is nothing to score."""

import json
import pathlib

import numpy as np
import pytest

from dmlcsr_jax.datasets import celebamask_hq, helen, lapa
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "evaluation.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize(
    ("prefix", "spec"), [("helen", helen.SPEC), ("helen", lapa.SPEC), ("celebamask", celebamask_hq.SPEC)]
)
def test_equal_to_golden(golden, prefix, spec):
    confusion = sum(
        confusion_matrix(golden[f"{prefix}_label_{i}"], golden[f"{prefix}_restored_{i}"], spec.num_classes)
        for i in range(4)
    )
    result = scores(confusion, spec)
    expected = dict(zip(golden[f"{prefix}_f1_names"].tolist(), golden[f"{prefix}_f1"], strict=True))
    classes = golden[f"{prefix}_f1"][: spec.num_classes]
    np.testing.assert_allclose(list(result["f1"].values()), classes, rtol=1e-9)
    assert list(result["f1"]) == list(spec.class_names)
    np.testing.assert_allclose(result["mean_f1"], expected["Mean_F1"], rtol=1e-9)
    for group in ("eyes", "brows", "mouth", "overall") if prefix == "helen" else ():
        np.testing.assert_allclose(result["merged_f1"][group], expected[group], rtol=1e-9, err_msg=group)
    for name, percent in (("pixel_accuracy",) * 2, ("mean_accuracy",) * 2, ("miou", "mean_iou")):
        np.testing.assert_allclose(result[name], golden[f"{prefix}_{percent}"] / 100, rtol=1e-9, err_msg=name)


SPEC = FaceSpec(
    "small",
    ("background", "left", "right", "nose"),
    score_groups={"pair": ("left", "right"), "all": ("pair", "nose"), "nose": ("nose",)},
)


def test_rows_are_labels_and_ignored_pixels_are_left_out():
    label = np.array([[0, 1, 1], [2, 255, 255]], np.uint8)
    prediction = np.array([[0, 2, 1], [2, 0, 200]], np.uint8)
    confusion = confusion_matrix(label, prediction, 3)
    assert confusion.dtype == np.int64
    assert confusion.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def test_ignore_may_be_a_class():
    assert confusion_matrix(np.array([0, 1, 2]), np.array([0, 0, 0]), 3, ignore=2).tolist() == [
        [1, 0, 0],
        [1, 0, 0],
        [0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("label", "prediction", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"\(2, 3\).*\(3, 2\)"),
        (np.array([0, 3]), np.array([0, 0]), r"label has values \[3\].*0\.\.2"),
        (np.array([0, 1]), np.array([0, -1]), r"prediction has values \[-1\]"),
        (np.array([0, 1], np.uint8), np.array([0, 255], np.uint8), r"prediction has values \[255\]"),
        (np.array([0.0, 1.0]), np.array([0, 1]), "label is of float64"),
    ],
)
def test_wrong_input_is_named(label, prediction, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(label, prediction, 3)


def test_matrix_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="small has 4 classes"):
        scores(np.zeros((3, 3), np.int64), SPEC)


def test_merged_classes_count_as_one():
    # Every left is called right and the other way round: wrong as parts, right as a pair.
    confusion = np.array([[5, 0, 0, 0], [0, 0, 3, 0], [0, 4, 0, 0], [0, 0, 0, 2]])
    result = scores(confusion, SPEC)
    assert result["f1"]["left"] == result["f1"]["right"] == 0
    assert result["merged_f1"] == {"pair": 1, "all": 1, "nose": 1}


def test_what_never_occurs_has_no_score():
    confusion = np.zeros((4, 4), np.int64)
    confusion[0, 0], confusion[3, 3], confusion[3, 0] = 6, 1, 1
    result = scores(confusion, SPEC)
    assert result["f1"]["left"] is None and result["merged_f1"]["pair"] is None
    assert result["mean_f1"] == result["f1"]["nose"] == pytest.approx(2 / 3)
    assert result["miou"] == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert result["mean_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    nothing = scores(np.zeros((4, 4), np.int64), SPEC)
    assert nothing["mean_f1"] is None and nothing["pixel_accuracy"] is None
