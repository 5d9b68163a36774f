"""A data set that has been prepared: its classes, its examples, and what was counted."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from dmlcsr_jax.console import quiet
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.summary import Summary
from dmlcsr_jax.errors import UserError

_UNDECODED = {"image": tfds.decode.SkipDecoding(), "label": tfds.decode.SkipDecoding()}


class Source:
    """A split of a prepared data set, read at random.

    `source[i]` is `{"image": encoded picture, "label": PNG of one channel of class numbers, "name": text}`, the first
    two as bytes, and what further features the data set has as arrays. It may be read by many threads and sent to other
    processes, where it opens its files anew.
    """

    def __init__(self, directory: str | os.PathLike, split: str):
        self._directory, self._split = os.fspath(directory), split
        with quiet():
            builder = tfds.builder_from_directory(self._directory)
            self._records = builder.as_data_source(split, decoders=_UNDECODED)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._records[int(index)]
        return example | {"name": example["name"].decode()}

    def __reduce__(self):
        return Source, (self._directory, self._split)

    def __repr__(self) -> str:  # Grain puts it into its checkpoints
        return f"Source({self._directory!r}, {self._split!r})"


def decode_example(encoded: Mapping[str, Any]) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, [H, W, 3] uint8 RGB image and [H, W] uint8 labels of one entry of a `Source`."""
    name = encoded["name"]
    return name, decode_image(encoded["image"], name), decode_label(encoded["label"], name)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set that is ready to be read.

    Attributes:
      spec: its classes.
      directory: where its prepared files lie.
      splits: name of a split -> number of examples.
    """

    spec: FaceSpec
    directory: str
    splits: Mapping[str, int]

    @functools.cached_property
    def summary(self) -> Summary:
        """What it holds, as counted when it was prepared."""
        return Summary.read(pathlib.Path(self.directory))

    def source(self, split: str) -> Source:
        """The examples of a split; UserError names the splits there are."""
        if split not in self.splits:
            raise UserError(f"{self.spec.name} has no split {split!r}; it has {', '.join(self.splits)}")
        return Source(self.directory, split)
