"""Scores label maps that any program wrote."""

import pathlib

import numpy as np

from dmlcsr_jax.console import print_plain
from dmlcsr_jax.datasets.images import decode_label
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.raw_files import read_labels, size_text
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.evaluation.evaluator import Observe, Scores
from dmlcsr_jax.pipeline.input_pipeline import Examples


def score_label_maps(folder: pathlib.Path, source: Examples, spec: FaceSpec, observe: Observe | None = None) -> Scores:
    """The scores (see `confusion.scores`) of the label maps in a folder, at the size of the labels.

    Args:
      folder: NAME.png of every example: one channel of class numbers, the size of the example's label.
      source: the undecoded examples of a split.
      spec: the classes of labels and label maps.
      observe: called with each example in turn.

    Raises:
      UserError: label maps are missing, or one cannot be read, has another size or a value that is no class.
    """
    names = [source[index]["name"] for index in range(len(source))]
    _check_files(folder, names)

    def count(index: int) -> tuple[int, np.ndarray, np.ndarray]:
        label, path = decode_label(source[index]["label"]), folder / f"{names[index]}.png"
        predicted = _read(path, label, spec)
        return index, predicted, confusion_matrix(label, predicted, spec.num_classes, spec.ignore_id)

    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    for index, predicted, counted in parallel_map(count, range(len(source))):
        confusion += counted
        if observe:
            observe(index, predicted, counted)
    return scores(confusion, spec)


def _check_files(folder: pathlib.Path, names: list[str]) -> None:
    if not folder.is_dir():
        raise UserError(f"--predictions={folder} is not a folder; it should have NAME.png for each image of the split")
    missing = [name for name in names if not (folder / f"{name}.png").exists()]
    if missing:
        raise UserError(
            f"--predictions={folder} lacks {len(missing)} of {len(names)} label maps, the first: {missing[0]}.png; "
            f"name them as the images of the split, with .png"
        )
    others = sum(1 for _ in folder.rglob("*.png")) - len(names)
    if others:
        print_plain(f"{others} other PNG files in {folder} belong to no image of the split and were not read")


def _read(path: pathlib.Path, label: np.ndarray, spec: FaceSpec) -> np.ndarray:
    predicted = read_labels(path)
    if predicted.shape != label.shape:
        raise UserError(f"{path} is {size_text(predicted)}, the label {size_text(label)}; write it at the label's size")
    if predicted.max() >= spec.num_classes:
        raise UserError(
            f"{path} has value {predicted.max()}; {spec.num_classes} classes allow 0 to {spec.num_classes - 1}"
        )
    return predicted
