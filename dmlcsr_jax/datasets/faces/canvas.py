"""An image and its label map, painted together: anti-aliased shapes, soft shading, smooth outlines."""

import functools
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike

from dmlcsr_jax.datasets.celebamask_hq import SPEC

Outline: TypeAlias = np.ndarray | list[np.ndarray]  # [N, 2] polygon, or polygons that do not overlap
Number: TypeAlias = float | np.floating
Region: TypeAlias = tuple[slice, slice]

_SHIFT = 4  # fractional bits of the coordinates given to OpenCV
_BASIS = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], np.float32)


def _curve_weights(steps: int) -> np.ndarray:
    t = np.arange(steps, dtype=np.float32) / steps
    return np.stack([np.ones_like(t), t, t * t, t * t * t], 1) @ _BASIS


_WEIGHTS = {steps: _curve_weights(steps) for steps in (4, 6, 8)}


def floats(values: ArrayLike) -> np.ndarray:
    """A new float32 array."""
    return np.array(values, np.float32)


def closed_curve(points: ArrayLike, steps: int = 6) -> np.ndarray:
    """Closed Catmull-Rom spline through [N, D] points; [N * steps, D]."""
    points = np.asarray(points, np.float32)
    return _spline(np.concatenate([points[-1:], points, points[:2]]), steps)


def open_curve(points: ArrayLike, steps: int = 6) -> np.ndarray:
    """Open Catmull-Rom spline through [N, D] points; [(N - 1) * steps + 1, D]."""
    points = np.asarray(points, np.float32)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    return np.concatenate([_spline(padded, steps), points[-1:]])


def _spline(padded: np.ndarray, steps: int) -> np.ndarray:
    knots = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], 1)
    return (_WEIGHTS[steps] @ knots).reshape(-1, padded.shape[1])


def symmetric(half: ArrayLike) -> np.ndarray:
    """[N, 2] points from left to right, given the right half from the center (x = 0) outwards."""
    half = np.asarray(half, np.float32)
    left = half[half[:, 0] > 0][::-1] * floats([-1, 1])
    return np.concatenate([left, half])


def looped(outline: np.ndarray) -> np.ndarray:
    """A closed outline that ends where it starts, so that `ribbon` follows all of it."""
    return np.concatenate([outline, outline[:2]])


def ribbon(line: ArrayLike, width: ArrayLike) -> np.ndarray:
    """Outline of a stroke along [N, 2] points; `width` is one number, or one per point."""
    line = np.asarray(line, np.float32)
    tangent = np.empty_like(line)
    tangent[1:-1] = line[2:] - line[:-2]
    tangent[0], tangent[-1] = line[1] - line[0], line[-1] - line[-2]
    tangent /= np.maximum(np.sqrt((tangent**2).sum(1, keepdims=True)), 1e-6)
    offset = tangent[:, ::-1] * floats([-0.5, 0.5]) * np.asarray(width, np.float32).reshape(-1, 1)
    return np.concatenate([line + offset, (line - offset)[::-1]])


def ellipse(center: ArrayLike, radius_x: Number, radius_y: Number, *, points: int = 24) -> np.ndarray:
    """[points, 2] outline of an ellipse."""
    return _circle(points) * floats((float(radius_x), float(radius_y))) + floats(center)


@functools.cache
def _circle(points: int) -> np.ndarray:
    angle = np.arange(points) * (2 * np.pi / points)
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


class Canvas:
    """A square image and its label map.

    All coordinates are pixels of the image, (x, y), with pixel centers at integers.

    Args:
      size: S, side of the image in pixels.

    Attributes:
      image: [3, S, S] float32, RGB, 0–255; channels first, because NumPy is several times faster on planes.
      label: [S, S] uint8 class numbers.
    """

    def __init__(self, size: int):
        self.size = size
        self.image = np.zeros((3, size, size), np.float32)
        self.label = np.zeros((size, size), np.uint8)

    def paint(
        self,
        outline: Outline,
        color: ArrayLike,
        name: str | None = None,
        *,
        alpha: float = 1.0,
        on: Sequence[str] | None = None,
        within: np.ndarray | None = None,
    ) -> None:
        """Fills a shape with a color, and labels it.

        Args:
          outline: [N, 2] polygon, or a list of polygons that do not overlap.
          color: an RGB color, or a [3, S, S] image to fill with.
          name: the class of the shape; None leaves the labels unchanged.
          alpha: opacity, 0–1.
          on: names of the classes that the shape may cover; None means all.
          within: [S, S] float32 mask (0–1) that the shape is clipped to.
        """
        rasterized = self._rasterize(outline)
        if rasterized is None:
            return
        region, mask = rasterized
        cover = mask.astype(np.float32) * np.float32(1 / 255)
        if on is not None:
            cover *= self._is(region, on)
        if within is not None:
            cover *= within[region]
        if name is not None:
            self.label[region][cover > 0.5] = SPEC.class_id(name)
        color = np.asarray(color, np.float32)
        color = color[:, *region] if color.ndim == 3 else color[:, None, None]
        pixels = self.image[:, *region]
        pixels += (cover if alpha == 1 else cover * np.float32(alpha)) * (color - pixels)

    def shade(self, outline: Outline, factor: ArrayLike, blur: float, *, on: Sequence[str] | None = None) -> None:
        """Multiplies the image by a factor in a soft-edged shape; labels are unchanged.

        Args:
          outline: as in `paint`.
          factor: one number, or one per channel.
          blur: standard deviation of the edge in pixels.
          on: as in `paint`.
        """
        rasterized = self._rasterize(outline, margin=int(2.2 * blur) + 1)
        if rasterized is None:
            return
        region, mask = rasterized
        side = max(3, int(1.5 * blur)) | 1
        cover = cv2.blur(cv2.blur(mask, (side, side)), (side, side)).astype(np.float32) * np.float32(1 / 255)
        if on is not None:
            cover *= self._is(region, on)
        self.image[:, *region] *= 1 + cover * (np.asarray(factor, np.float32).reshape(-1, 1, 1) - 1)

    def mask(self, outline) -> np.ndarray:
        """[S, S] float32 coverage of a shape, 0–1."""
        full = np.zeros((self.size, self.size), np.float32)
        rasterized = self._rasterize(outline)
        if rasterized is not None:
            region, mask = rasterized
            full[region] = mask * np.float32(1 / 255)
        return full

    def _is(self, region: Region, names: Sequence[str]) -> np.ndarray:
        """Mask of the pixels of a region that have one of the labels."""
        if len(names) == 1:
            return self.label[region] == SPEC.class_id(names[0])
        table = np.zeros(256, np.float32)
        table[[SPEC.class_id(name) for name in names]] = 1
        return table[self.label[region]]

    def _rasterize(self, outline: Outline, margin: int = 1) -> tuple[Region, np.ndarray] | None:
        """The region that a shape touches, and its uint8 coverage there; None if it is outside the canvas."""
        outlines = outline if isinstance(outline, list) else [outline]
        points = np.concatenate(outlines) if len(outlines) > 1 else outlines[0]
        low = np.maximum(np.floor(points.min(0)).astype(int) - margin, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + margin + 1, self.size)
        if (high <= low).any():
            return None
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fixed = [np.rint((line - low) * (1 << _SHIFT)).astype(np.int32) for line in outlines]
        cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, _SHIFT)
        return (slice(low[1], high[1]), slice(low[0], high[0])), mask
