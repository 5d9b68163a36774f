"""The parts of one image: labels, masks, overlays, and the classes of other data sets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np

from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.remapping import remap_table
from dmlcsr_jax.drawing.cutouts import cut_out
from dmlcsr_jax.drawing.label_maps import count_pixels
from dmlcsr_jax.drawing.legend import draw_legend
from dmlcsr_jax.drawing.overlay import draw_overlay
from dmlcsr_jax.inference.detector import Detection

# Sums of probabilities: [C, K] float32 weights of the classes -> [H, W, K] float32 at the size of the image.
ProbabilitySums: TypeAlias = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class FaceCrop:
    """The network's input and output for one face.

    Attributes:
      face: the detected face; None if the whole image was taken to be the face.
      matrix: [2, 3] float64: input (x, y) = matrix @ image (x, y, 1).
      labels: [h, w] uint8 class numbers at the size of the network's input.
    """

    face: Detection | None
    matrix: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ParsedFace:
    """The parts of one image.

    Attributes:
      image: [H, W, 3] uint8 RGB, the image itself.
      labels: [H, W] uint8 class numbers at the size of the image; background outside all crops.
      spec: the classes.
      crops: one per face, the largest last; empty if the detector found none.
    """

    image: np.ndarray
    labels: np.ndarray
    spec: FaceSpec
    crops: tuple[FaceCrop, ...] = ()
    _sum_probabilities: ProbabilitySums | None = dataclasses.field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class number."""
        return self.spec.class_names

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """[H, W, C] float32, the probability of each class; 1 for background outside all crops.

        Computed on first access, which runs the network once more, and then kept. It takes 4 H W C bytes: 20 MB for
        512 x 512 and 19 classes. Values are interpolated between the network's pixels, whereas `labels` takes the
        nearest one.

        Raises:
          ValueError: this object was not made by a parser.
        """
        return self._sums(np.eye(self.spec.num_classes, dtype=np.float32))

    def alpha(self, *names: str) -> np.ndarray:
        """How opaque each pixel of the named parts is: the sum of their probabilities, soft along their edges.

        It runs the network once more but, unlike `probabilities`, needs only one plane of the image's size.

        Args:
          *names: names of parts; none for all but the background.

        Returns:
          [H, W] uint8, 0..255.

        Raises:
          ValueError: a name is not one of the parts, or this object was not made by a parser.
        """
        weights = np.zeros((self.spec.num_classes, 1), np.float32)
        weights[[self.spec.class_id(name) for name in names or self.names[1:]]] = 1
        return np.rint(255 * np.clip(self._sums(weights)[..., 0], 0, 1)).astype(np.uint8)

    def cutout(self, *names: str) -> np.ndarray:
        """The image with `alpha` of the named parts, [H, W, 4] uint8 RGBA; transparent pixels keep their colors."""
        return cut_out(self.image, self.alpha(*names))

    def _sums(self, weights: np.ndarray) -> np.ndarray:
        if self._sum_probabilities is None:
            raise ValueError("only a face from a FaceParser has probabilities")
        return self._sum_probabilities(weights)

    def mask(self, *names: str, dilate: int = 0, feather: float = 0.0) -> np.ndarray:
        """The union of the named parts.

        Args:
          *names: names of parts; none for all but the background.
          dilate: pixels to grow the mask by; negative values shrink it.
          feather: standard deviation, in pixels, of the Gaussian that softens its edges.

        Returns:
          [H, W] bool; with `feather` float32 in 0..1.

        Raises:
          ValueError: a name is not one of the parts (the message lists them), or `feather` is negative.
        """
        if feather < 0:
            raise ValueError(f"feather is {feather}; it must be 0 (hard edges) or more pixels")
        chosen = np.zeros(256, np.uint8)
        chosen[[self.spec.class_id(name) for name in names or self.names[1:]]] = 1
        mask = chosen[self.labels]
        if dilate:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(dilate) + 1,) * 2)
            mask = cv2.morphologyEx(mask, cv2.MORPH_DILATE if dilate > 0 else cv2.MORPH_ERODE, kernel)
        return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), feather) if feather else mask.astype(bool)

    def overlay(self, opacity: float = 0.55, *, legend: bool = True, names: Sequence[str] | None = None) -> np.ndarray:
        """The parts in color over the image.

        Args:
          opacity: of the colors, 0..1.
          legend: whether to draw a legend of the parts.
          names: the parts to show; None for all.

        Returns:
          [H, W, 3] uint8 RGB.

        Raises:
          ValueError: `opacity` is out of range, or a name is not one of the parts.
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity is {opacity}; it must be in 0..1")
        labels = self.labels
        if names is not None:
            labels = np.where(np.isin(labels, [self.spec.class_id(name) for name in names]), labels, np.uint8(0))
        mixed = draw_overlay(self.image, labels, self.spec, opacity=opacity)
        return draw_legend(mixed, labels, self.spec) if legend else mixed

    def remapped(self, target: str | FaceSpec, others: int = 0) -> "ParsedFace":
        """The same face in the classes of another data set, with left and right as that data set has them.

        Args:
          target: celebamask_hq, lapa or helen, or classes of your own.
          others: the label of parts that the target lacks, see `remap_table`.

        Raises:
          UserError: there is no such data set, or it has no part in common with this one.
        """
        spec = get_spec(target) if isinstance(target, str) else target
        table = remap_table(self.spec, spec, others=others)

        merged = np.zeros((self.spec.num_classes, spec.num_classes), np.float32)
        numbers = table[: self.spec.num_classes]
        known = np.flatnonzero(numbers < spec.num_classes)
        merged[known, numbers[known]] = 1
        crops = tuple(dataclasses.replace(crop, labels=table[crop.labels]) for crop in self.crops)
        return ParsedFace(self.image, table[self.labels], spec, crops, lambda weights: self._sums(merged @ weights))

    def summary(self) -> dict[str, Any]:
        """Sizes and positions as plain JSON values.

        Returns:
          `width`, `height`; `parts`: name -> `pixels`, `share` of the image, `box` (left, top, right, bottom; the last
          two exclusive); `faces`: `box`, `score`, `points` and `matrix` (image -> input) of each, the largest last.
        """
        height, width = self.labels.shape
        return {
            "width": width,
            "height": height,
            "parts": self._summarize_parts(),
            "faces": [_summarize_crop(crop, width, height) for crop in self.crops],
        }

    def _summarize_parts(self) -> dict[str, dict[str, Any]]:
        counts = count_pixels(self.labels)
        parts = {}
        for number in np.flatnonzero(counts[: self.spec.num_classes]):
            x, y, w, h = cv2.boundingRect((self.labels == number).astype(np.uint8))
            share = round(float(counts[number] / self.labels.size), 6)
            parts[self.names[number]] = {"pixels": int(counts[number]), "share": share, "box": [x, y, x + w, y + h]}
        return parts


def _summarize_crop(crop: FaceCrop, width: int, height: int) -> dict[str, Any]:
    """One entry of `faces`; a crop without a detected face covers the whole image of `width` x `height`."""
    face = crop.face
    return {
        "box": [round(value, 1) for value in face.box] if face else [0, 0, width, height],
        "score": round(face.score, 4) if face else None,
        "points": face.points.round(1).tolist() if face and face.points is not None else None,
        "matrix": crop.matrix.tolist(),
    }
