"""The parts of one picture: labels, masks, overlays, and other names for them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.remapping import remap_table
from dmlcsr_jax.drawing import overlay as visualize
from dmlcsr_jax.inference.detector import Detection


@dataclasses.dataclass(frozen=True, eq=False)
class FaceCrop:
    """What the network was shown of a picture, and what it said.

    Attributes:
      face: where the face is; None where the whole picture was taken to be the face.
      matrix: [2, 3] float64: input (x, y) = matrix @ picture (x, y, 1).
      labels: [h, w] uint8 class numbers at the network's input size.
    """

    face: Detection | None
    matrix: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ParsedFace:
    """The parts of one picture.

    Attributes:
      image: [H, W, 3] uint8 RGB, the picture itself.
      labels: [H, W] uint8 class numbers at the picture's own size; background outside of all crops.
      spec: the classes.
      crops: one a face, the largest last; empty where a detector found none.
    """

    image: np.ndarray
    labels: np.ndarray
    spec: FaceSpec
    crops: tuple[FaceCrop, ...] = ()
    _compute_probabilities: Callable[[], np.ndarray] | None = dataclasses.field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class number."""
        return self.spec.class_names

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """[H, W, C] float32 in 0..1: each class's probability; 1 for background outside of all crops.

        Computed when it is first asked for, by the network once more, and then kept: 4 H W C bytes, 20 MB for 512 x 512
        and 19 classes. It is bilinear in between the network's pixels, where `labels` takes the nearest.
        """
        return self._compute_probabilities()

    def mask(self, *names: str, dilate: int = 0, feather: float = 0.0) -> np.ndarray:
        """Where any of the named parts is.

        Args:
          names: of parts.
          dilate: pixels by which the mask grows, by which it shrinks if negative.
          feather: standard deviation, in pixels, of the Gaussian that softens its edges.

        Returns:
          [H, W] bool, or float32 in 0..1 with `feather`.

        Raises:
          ValueError: a name is none of the parts (the message lists them), or `feather` is negative.
        """
        if feather < 0:
            raise ValueError(f"feather is {feather}; it must be 0 (hard edges) or more pixels")
        chosen = np.zeros(256, np.uint8)
        chosen[[self.spec.class_id(name) for name in names]] = 1
        mask = chosen[self.labels]
        if dilate:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(dilate) + 1,) * 2)
            mask = cv2.morphologyEx(mask, cv2.MORPH_DILATE if dilate > 0 else cv2.MORPH_ERODE, kernel)
        return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), feather) if feather else mask.astype(bool)

    def overlay(self, opacity: float = 0.55, legend: bool = True, names: Sequence[str] | None = None) -> np.ndarray:
        """[H, W, 3] uint8 RGB: the parts (or only those named) in color over the picture, and a legend of them."""
        labels = self.labels if names is None else np.where(self.mask(*names), self.labels, np.uint8(0))
        mixed = visualize.overlay(self.image, labels, self.spec, opacity)
        return visualize.draw_legend(mixed, labels, self.spec) if legend else mixed

    def remapped(self, target: str | FaceSpec, others: int = 0) -> "ParsedFace":
        """The same parts under the class numbers and names of another data set, sides set right.

        Args:
          target: celebamask_hq, lapa or helen, or classes of one's own.
          others: the label of parts that the target does not have, see `remap_table`.

        Raises:
          UserError: no such data set, or it has no part in common with this one.
        """
        target = get_spec(target) if isinstance(target, str) else target
        table = remap_table(self.spec, target, others)

        def probabilities() -> np.ndarray:
            sums = np.zeros((self.spec.num_classes, target.num_classes), np.float32)
            numbers = table[: self.spec.num_classes]
            known = np.flatnonzero(numbers < target.num_classes)
            sums[known, numbers[known]] = 1
            return self.probabilities @ sums

        crops = tuple(dataclasses.replace(crop, labels=table[crop.labels]) for crop in self.crops)
        return ParsedFace(self.image, table[self.labels], target, crops, probabilities)

    def summary(self) -> dict[str, Any]:
        """Sizes and places as plain JSON values.

        `width` and `height`; `parts`: name -> `pixels`, `share` of the picture, `box` (left, top, right, bottom; the
        last two exclusive); `faces`: `box`, `score`, `points`, `matrix` (picture -> input) of each, the largest last.
        """
        height, width = self.labels.shape
        counts = visualize.count_pixels(self.labels)
        parts = {}
        for number in np.flatnonzero(counts[: self.spec.num_classes]):
            x, y, w, h = cv2.boundingRect((self.labels == number).astype(np.uint8))
            share = round(float(counts[number] / self.labels.size), 6)
            parts[self.names[number]] = {"pixels": int(counts[number]), "share": share, "box": [x, y, x + w, y + h]}
        faces = [
            {
                "box": [round(value, 1) for value in crop.face.box] if crop.face else [0, 0, width, height],
                "score": round(crop.face.score, 4) if crop.face else None,
                "points": crop.face.points.round(1).tolist() if crop.face and crop.face.points is not None else None,
                "matrix": crop.matrix.tolist(),
            }
            for crop in self.crops
        ]
        return {"width": width, "height": height, "parts": parts, "faces": faces}
