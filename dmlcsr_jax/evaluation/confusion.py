"""Scores from label maps, by one confusion matrix over a whole split."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec


def confusion_matrix(
    label: np.ndarray, prediction: np.ndarray, num_classes: int, ignore: int = IGNORE_ID
) -> np.ndarray:
    """Counts the pixels of each pair of classes.

    Args:
      label: integer class numbers of any shape; pixels equal to `ignore` are not counted.
      prediction: of the same shape; where a pixel is counted, a class number.
      num_classes: C.
      ignore: the label value that is never counted.

    Returns:
      [C, C] int64, rows by label, columns by prediction. The matrices of several images may be added.

    Raises:
      ValueError: the shapes differ, or a counted value is no class.
    """
    label, prediction = np.asarray(label), np.asarray(prediction)
    if label.shape != prediction.shape:
        raise ValueError(f"label has shape {label.shape} and prediction {prediction.shape}; they must be equal")
    counted = label != ignore
    rows = _class_numbers(label[counted], num_classes, "label")
    columns = _class_numbers(prediction[counted], num_classes, "prediction")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.astype(np.int64).reshape(num_classes, num_classes)


def _class_numbers(values: np.ndarray, num_classes: int, what: str) -> np.ndarray:
    if values.size and values.dtype.kind not in "iu":
        raise ValueError(f"{what} is of {values.dtype}; class numbers are integers")
    strangers = np.unique(values[(values < 0) | (values >= num_classes)])
    if strangers.size:
        raise ValueError(f"{what} has values {strangers[:8].tolist()}; the classes are 0..{num_classes - 1}")
    return values.astype(np.int64)


def scores(confusion: np.ndarray, spec: FaceSpec) -> dict[str, Any]:
    """Computes the scores of a split from its confusion matrix, as the published evaluation does.

    With A the pixels labeled as a class and B those predicted as it, `F1 = 2 |A ∩ B| / (|A| + |B|)` and
    `IoU = |A ∩ B| / |A ∪ B|`. A merged F1 treats its classes as one class: confusing one eye with the other is no
    error.

    Args:
      confusion: [C, C] counts, rows by label.
      spec: the C classes and their score groups.

    Returns:
      A JSON-compatible dict of fractions in 0..1. A score is None if its denominator is 0 (a class that is neither in
      the labels nor in the predictions); means leave such classes out.
      `f1`: class -> F1, background included; `merged_f1`: group -> F1; `mean_f1`: over the foreground classes;
      `miou`: mean IoU over all classes; `pixel_accuracy`: correct pixels / all; `mean_accuracy`: mean `|A ∩ B| / |A|`
      over the classes in the labels.

    Raises:
      ValueError: the matrix does not fit the classes of the spec.
    """
    confusion = np.asarray(confusion)
    if confusion.shape != (spec.num_classes, spec.num_classes):
        raise ValueError(
            f"confusion has shape {confusion.shape}; {spec.name} has {spec.num_classes} classes and needs "
            f"({spec.num_classes}, {spec.num_classes})"
        )
    right, labeled, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = _ratio(2 * right, labeled + predicted)
    return {
        "f1": {name: _number(value) for name, value in zip(spec.class_names, f1, strict=True)},
        "merged_f1": {
            group: _merged_f1(confusion, _members(names, spec)) for group, names in spec.score_groups.items()
        },
        "mean_f1": _mean(f1[1:]),
        "miou": _mean(_ratio(right, labeled + predicted - right)),
        "pixel_accuracy": _number(_ratio(right.sum(), confusion.sum())),
        "mean_accuracy": _mean(_ratio(right, labeled)),
    }


def _merged_f1(confusion: np.ndarray, members: set[int]) -> float | None:
    chosen = sorted(members)
    both = confusion[np.ix_(chosen, chosen)].sum()
    return _number(_ratio(2 * both, confusion[chosen].sum() + confusion[:, chosen].sum()))


def _members(names: Iterable[str], spec: FaceSpec) -> set[int]:
    """The class numbers that names of classes and of score groups refer to."""
    groups = [name for name in names if name in spec.score_groups and name not in spec.class_names]
    classes = {spec.class_id(name) for name in names if name not in groups}
    return classes.union(*(_members(spec.score_groups[name], spec) for name in groups))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _number(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)


def headline(result: Mapping[str, Any], spec: FaceSpec) -> float:
    """The score that `spec.headline` names; 0 if it is None."""
    return (result["merged_f1"] | result)[spec.headline] or 0.0
