"""The contract of a data set: `RawDataset`, one class in one file.

For example, faces drawn by code::

    class Synthetic(RawDataset[tuple[str, int]]):
        spec = FaceSpec("synthetic", ("background", "skin", ...))
        needs_path = False

        def __init__(self, *, train: int = 2000, seed: int = 0):
            self.key = f"{train}-seed{seed}"
            self._train, self._seed = train, seed

        def items(self, split):
            return [(split, index) for index in range(self._train)] if split == "train" else ()

        def example(self, item):
            split, index = item
            image, labels = draw_face(self._seed + index, 256)
            return Example(image=encode_jpeg(image, 95), labels=labels, name=f"{split}_{index:06d}")

An entry in `dmlcsr_jax.datasets.DATASETS` makes it available as `config.dataset.name`. `FaceBuilder` prepares it.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from dmlcsr_jax.datasets.label_checks import Palettes
from dmlcsr_jax.datasets.spec import FaceSpec

SPLITS = ("train", "val", "test")

Item = TypeVar("Item")
FeatureType: TypeAlias = tuple[tuple[int, ...], npt.DTypeLike]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One labeled image.

    Attributes:
      image: an encoded image file.
      labels: [H, W] uint8 class numbers, the size of the image; `spec.ignore_id` if unknown.
      name: identifies the example within its split.
      features: the values of the data set's further features.
      remark: what is wrong apart from image and labels, for the summary; "" if nothing.
      warnings: what may be wrong, the same words for each file -> the file.
      palettes: the colors that the file of the label map gives to class numbers; see `label_checks`.
    """

    image: bytes
    labels: np.ndarray
    name: str
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    remark: str = ""
    warnings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    palettes: Palettes = dataclasses.field(default_factory=dict)


class RawDataset(abc.ABC, Generic[Item]):
    """A data set before preparation. See the module docstring for an example.

    The constructor takes the path of the raw data (only if `needs_path`) and, as keyword arguments, the fields of
    `config.dataset.NAME`. It raises FieldError for a field that is out of range, and UserError if the raw data is
    incomplete.

    Attributes:
      spec: the classes. Set it on the class unless they depend on the raw data. `spec.name` is the data set's name.
      key: the name of this variant (letters, digits, `._-`). Whatever changes the prepared data must change the key.
      needs_path: whether there is raw data to read.
      key_follows_files: whether fixing a file changes the key, so that the work of an interrupted run cannot be reused.
      features: further features of each example: name -> (shape, dtype).
      official_sizes: split name -> number of examples according to the publication, if any.
      notes: lines about the whole data set for the summary.
      warnings: lines about what may be wrong with it, such as files that are not read.
      mirror_warnings: lines about what may be wrong with `spec.flip_pairs`; they matter if images are mirrored.
      state: a digest of what the prepared data was made from, without the options; "" if nothing shows that it changed.
      exif: `config.dataset.exif`; "" until `use_exif` is called.
    """

    spec: FaceSpec
    key: str
    needs_path: ClassVar[bool] = True
    key_follows_files: ClassVar[bool] = False
    features: Mapping[str, FeatureType] = {}
    official_sizes: Mapping[str, int] = {}
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    mirror_warnings: Sequence[str] = ()
    state: str = ""
    exif: str = ""

    def use_exif(self, exif: str) -> None:
        """Decides on EXIF orientations: "apply", "ignore", or "" to apply them and warn. Part of the key."""
        self.exif = exif
        if exif:
            self.key += f"-exif_{exif}"

    @abc.abstractmethod
    def items(self, split: str) -> Sequence[Item]:
        """What the examples of a split are made from, in order; empty if there is no such split. Must be fast."""

    @abc.abstractmethod
    def example(self, item: Item) -> Example:
        """Makes one example. Called from several threads at once.

        Raises:
          UserError: a file is missing or invalid.
        """
