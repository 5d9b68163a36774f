"""Pictures in, face parts out."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import visualize
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.transforms import fit_image
from dmlcsr_jax.training import checkpoints
from dmlcsr_jax.training.state import create_model
from dmlcsr_jax.training.steps import parse_labels

Picture = str | os.PathLike | np.ndarray


@dataclasses.dataclass(frozen=True)
class ParsedFace:
    """The parts of one picture.

    Attributes:
      image: [H, W, 3] uint8 RGB, the picture itself.
      labels: [H, W] uint8 class numbers at the picture's own size.
      spec: the classes.
    """

    image: np.ndarray
    labels: np.ndarray
    spec: FaceSpec

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class number."""
        return self.spec.class_names

    def mask(self, *names: str) -> np.ndarray:
        """[H, W] bool: where any of the named parts is; ValueError names the parts there are."""
        return np.isin(self.labels, [self.spec.class_id(name) for name in names])

    def overlay(self, opacity: float = 0.55, legend: bool = True) -> np.ndarray:
        """[H, W, 3] uint8 RGB: the parts in colour over the picture, and a legend of those present."""
        mixed = visualize.overlay(self.image, self.labels, self.spec, opacity)
        return visualize.draw_legend(mixed, self.labels, self.spec) if legend else mixed


class FaceParser:
    """Finds the parts of faces in pictures.

    parser = FaceParser.load("runs/quickstart")
    (face,) = parser("photo.jpg")
    face.mask("hair")

    The whole picture is taken to be the face, as in the data sets; it is scaled into the network's input with
    its aspect kept, and the class numbers are brought back to its own size. Batches have one fixed shape, so
    the network is compiled once.

    Args:
      variables: `params` and `batch_stats`; the edge heads' may be absent.
      card: classes, network and input convention.
      batch_size: pictures that go through the network at once.
    """

    def __init__(self, variables: dict[str, Any], card: checkpoints.Card, batch_size: int = 4):
        self.spec = card.spec
        self.card = card
        self._variables = variables
        self._batch_size = batch_size
        model = create_model(card.spec.num_classes, ConfigDict(card.model))
        self._parse = jax.jit(lambda variables, images: parse_labels(model, card.convention, variables, images))

    @classmethod
    def load(cls, path: str | os.PathLike, batch_size: int = 4, weights: str | None = None) -> "FaceParser":
        """A parser from a workdir (its best checkpoint) or from the folder of one checkpoint.

        `weights` are the "student"'s or the "teacher"'s; None takes the teacher's where there is one.

        Raises:
          UserError: there is no checkpoint, or it cannot be read.
        """
        return cls(*checkpoints.load(path, weights), batch_size=batch_size)

    def __call__(self, images: Picture | Sequence[Picture]) -> list[ParsedFace]:
        """Parses one picture or several of any sizes.

        Args:
          images: a path, an [H, W, 3] uint8 RGB array, a [B, H, W, 3] array, or a list of paths and arrays.

        Returns:
          One `ParsedFace` a picture, in order.

        Raises:
          UserError: a picture cannot be read.
        """
        single = isinstance(images, str | os.PathLike) or (isinstance(images, np.ndarray) and images.ndim == 3)
        pictures = [_as_array(image) for image in ([images] if single else images)]
        faces = []
        for start in range(0, len(pictures), self._batch_size):
            chunk = pictures[start : start + self._batch_size]
            batch = np.zeros((self._batch_size, *self.card.size, 3), np.uint8)
            for row, picture in enumerate(chunk):
                batch[row] = fit_image(picture, self.card.size)
            found = np.asarray(self._parse(self._variables, batch))[: len(chunk)]
            for picture, labels in zip(chunk, found, strict=True):
                restored = restore_labels(labels, picture.shape[1], picture.shape[0])
                faces.append(ParsedFace(picture, restored, self.spec))
        return faces


def _as_array(picture: Picture) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise UserError(f"a picture must be [H, W, 3] uint8 RGB, not {picture.shape} {picture.dtype}")
        return picture
    path = pathlib.Path(picture)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a picture file") from error
    return decode_image(data, path)
