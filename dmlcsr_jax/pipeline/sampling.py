"""Which training examples are seen more often than once per epoch, and how many are drawn by code."""

import dataclasses

import numpy as np

from dmlcsr_jax.console import progress_bar
from dmlcsr_jax.datasets.images import decode_label
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.fields import check_range
from dmlcsr_jax.pipeline.input_pipeline import Examples


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How training examples are chosen.

    Attributes:
      rare_class_sampling: the share of images below which a class counts as rare, 0..1; 0 samples all images alike.
      drawn_faces: the share of examples that are drawn faces instead, 0..1.

    Raises:
      FieldError: a field is out of range.
    """

    rare_class_sampling: float = 0.0
    drawn_faces: float = 0.0

    def __post_init__(self):
        for name, value in vars(self).items():
            check_range(name, value, at_least=0, at_most=1)


def class_presence(source: Examples, num_classes: int) -> np.ndarray:
    """Reads all label maps of a source.

    Returns:
      [N, num_classes] bool: whether an example contains a class.

    Raises:
      UserError: a label map cannot be decoded.
    """

    def classes(index: int) -> np.ndarray:
        example = source[index]
        labels = decode_label(example["label"], example["name"])
        return np.bincount(labels.ravel(), minlength=256)[:num_classes] > 0

    present = np.zeros((len(source), num_classes), bool)
    with progress_bar("counting classes", transient=True) as progress:
        task = progress.add_task("", total=len(source), text="")
        for index, found in enumerate(parallel_map(classes, range(len(source)))):
            present[index] = found
            progress.advance(task)
    return present


def class_factors(present: np.ndarray, threshold: float) -> np.ndarray:
    """How often images of each class are repeated: max(1, sqrt(threshold / share of the images that contain it)).

    This is repeat-factor sampling of LVIS (Gupta et al., CVPR 2019, arXiv 1908.03195).

    Args:
      present: [N, C] bool, from `class_presence`.
      threshold: the share below which a class is rare.

    Returns:
      [C] float64, 1 or more; 1 for a class that no image contains.
    """
    share = present.mean(axis=0)
    return np.sqrt(np.maximum(1.0, threshold / np.where(share > 0, share, np.inf)))


def repeat_factors(present: np.ndarray, threshold: float) -> np.ndarray:
    """How often each image is repeated, [N] float64: the largest factor of its classes, 1 or more."""
    return np.where(present, class_factors(present, threshold), 1.0).max(axis=1)
