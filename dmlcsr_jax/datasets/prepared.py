"""A prepared data set: its classes, its examples, and its counts."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from dmlcsr_jax.console import quiet
from dmlcsr_jax.datasets import copies
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.summary import Summary
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import as_path

_UNDECODED = {"image": tfds.decode.SkipDecoding(), "label": tfds.decode.SkipDecoding()}


class Source:
    """A split of a prepared data set, with random access.

    `source[i]` is `{"image": bytes of an image file, "label": bytes of a PNG of class numbers, "name": str}`, plus the
    data set's further features as arrays. It can be read by several threads and sent to other processes, which open
    the files anew. The files are not removed as long as it exists.

    Args:
      directory: the prepared data set.
      split: the split's name.
    """

    def __init__(self, directory: str | os.PathLike[str], split: str):
        self._directory, self._split = os.fspath(directory), split
        self._lock = copies.reading(self._directory)
        with quiet():
            builder = tfds.builder_from_directory(self._directory)
            self._records = builder.as_data_source(split, decoders=_UNDECODED)  # pyright: ignore[reportCallIssue]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._records[int(index)]
        return example | {"name": example["name"].decode()}

    def __reduce__(self) -> tuple[type["Source"], tuple[str, str]]:
        return Source, (self._directory, self._split)

    def __repr__(self) -> str:  # Grain stores it in its checkpoints
        return f"Source({self._directory!r}, {self._split!r})"


def decode_example(encoded: Mapping[str, Any]) -> tuple[str, np.ndarray, np.ndarray]:
    """Decodes one element of a `Source`: name, [H, W, 3] uint8 RGB image, [H, W] uint8 labels."""
    name = encoded["name"]
    return name, decode_image(encoded["image"], name), decode_label(encoded["label"], name)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared data set. Its files are not removed as long as it exists.

    Attributes:
      spec: the classes.
      directory: where its files are stored.
      splits: split name -> number of examples.
      notes: lines about the whole data set, for the summary.
      warnings: lines about what may be wrong with it.
      mirror_warnings: likewise, if images are mirrored.
    """

    spec: FaceSpec
    directory: str
    splits: Mapping[str, int]
    _: dataclasses.KW_ONLY
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    mirror_warnings: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "_lock", copies.reading(self.directory))

    @functools.cached_property
    def summary(self) -> Summary:
        """The counts made during preparation."""
        return dataclasses.replace(Summary.read(as_path(self.directory)), notes=self.notes)

    def source(self, split: str) -> Source:
        """The examples of a split; UserError lists the splits if there is none of that name."""
        if split not in self.splits:
            raise UserError(
                f"{self.spec.name} has no split {split!r}; it has {', '.join(self.splits)}: {self._advice(split)}"
            )
        return Source(self.directory, split)

    def _advice(self, split: str) -> str:
        advice = "name one of them with --config.evaluation.split"
        if split == "val" and self.spec.name == "folder" and "train" in self.splits:
            return f"set a tenth of train aside with --config.dataset.folder.val_share=0.1, or {advice}"
        return advice
