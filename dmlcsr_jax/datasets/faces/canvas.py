"""A picture and its label map, painted together: anti-aliased shapes, soft shading, smooth outlines."""

import functools

import cv2
import numpy as np

from dmlcsr_jax.datasets.celebamask_hq import SPEC

_SHIFT = 4  # fractional bits of the coordinates given to OpenCV
_BASIS = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], np.float32)


def _curve_weights(steps: int) -> np.ndarray:
    t = np.arange(steps, dtype=np.float32) / steps
    return np.stack([np.ones_like(t), t, t * t, t * t * t], 1) @ _BASIS


_WEIGHTS = {steps: _curve_weights(steps) for steps in (4, 6, 8)}


def closed_curve(points, steps: int = 6) -> np.ndarray:
    """Catmull-Rom spline through [N, D] points and back to the first; [N * steps, D]."""
    points = np.asarray(points, np.float32)
    return _spline(np.concatenate([points[-1:], points, points[:2]]), steps)


def open_curve(points, steps: int = 6) -> np.ndarray:
    """Catmull-Rom spline from the first to the last of [N, D] points; [(N - 1) * steps + 1, D]."""
    points = np.asarray(points, np.float32)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    return np.concatenate([_spline(padded, steps), points[-1:]])


def _spline(padded: np.ndarray, steps: int) -> np.ndarray:
    knots = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], 1)
    return (_WEIGHTS[steps] @ knots).reshape(-1, padded.shape[1])


def symmetric(half) -> np.ndarray:
    """[N, 2] points from the left to the right, of the right half given from the middle (x = 0) outwards."""
    half = np.asarray(half, np.float32)
    left = half[half[:, 0] > 0][::-1] * np.float32([-1, 1])
    return np.concatenate([left, half])


def looped(outline: np.ndarray) -> np.ndarray:
    """An outline that ends where it began, for `ribbon` to follow all round."""
    return np.concatenate([outline, outline[:2]])


def ribbon(line, width) -> np.ndarray:
    """Outline of a stroke along [N, 2] points; width is a number or one a point."""
    line = np.asarray(line, np.float32)
    tangent = np.empty_like(line)
    tangent[1:-1] = line[2:] - line[:-2]
    tangent[0], tangent[-1] = line[1] - line[0], line[-1] - line[-2]
    tangent /= np.maximum(np.sqrt((tangent**2).sum(1, keepdims=True)), 1e-6)
    offset = tangent[:, ::-1] * np.float32([-0.5, 0.5]) * np.asarray(width, np.float32).reshape(-1, 1)
    return np.concatenate([line + offset, (line - offset)[::-1]])


def ellipse(center, radius_x: float, radius_y: float, points: int = 24) -> np.ndarray:
    """[points, 2] outline of an ellipse."""
    return _circle(points) * np.float32((radius_x, radius_y)) + np.float32(center)


@functools.cache
def _circle(points: int) -> np.ndarray:
    angle = np.arange(points) * (2 * np.pi / points)
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


class Canvas:
    """A square picture and its label map.

    All coordinates are pixels of the picture, (x, y), pixel centers at whole numbers.

    Attributes:
      image: [3, S, S] float32, RGB, 0..255; planes, because NumPy works several times faster on them.
      label: [S, S] uint8 class numbers.
    """

    def __init__(self, size: int):
        self.size = size
        self.image = np.zeros((3, size, size), np.float32)
        self.label = np.zeros((size, size), np.uint8)

    def paint(self, outline, color, name: str | None = None, *, alpha: float = 1.0, on=None, within=None) -> None:
        """Fills a shape with a color and makes it a face part.

        Args:
          outline: [N, 2] polygon, or a list of polygons that do not overlap.
          color: an RGB color, or a [3, S, S] picture to fill with.
          name: the class that the shape becomes; None leaves the labels alone.
          alpha: opacity, 0..1.
          on: names of the classes that the shape may cover; None means all.
          within: [S, S] float32 mask (0..1) that the shape is cut to.
        """
        region, mask = self._mask(outline)
        if region is None:
            return
        cover = mask.astype(np.float32) * np.float32(1 / 255)
        if on is not None:
            cover *= self._is(region, on)
        if within is not None:
            cover *= within[region]
        if name is not None:
            self.label[region][cover > 0.5] = SPEC.class_id(name)
        color = np.asarray(color, np.float32)
        color = color[:, *region] if color.ndim == 3 else color[:, None, None]
        picture = self.image[:, *region]
        picture += (cover if alpha == 1 else cover * np.float32(alpha)) * (color - picture)

    def shade(self, outline, factor, blur: float, *, on=None) -> None:
        """Multiplies the picture by a factor (a number or one a channel) in a soft-edged shape; labels stay.

        blur is the deviation of the edge in pixels.
        """
        region, mask = self._mask(outline, int(2.2 * blur) + 1)
        if region is None:
            return
        side = max(3, int(1.5 * blur)) | 1
        cover = cv2.blur(cv2.blur(mask, (side, side)), (side, side)).astype(np.float32) * np.float32(1 / 255)
        if on is not None:
            cover *= self._is(region, on)
        self.image[:, *region] *= 1 + cover * (np.asarray(factor, np.float32).reshape(-1, 1, 1) - 1)

    def mask(self, outline) -> np.ndarray:
        """[S, S] float32 coverage of a shape, 0..1."""
        full = np.zeros((self.size, self.size), np.float32)
        region, mask = self._mask(outline)
        if region is not None:
            full[region] = mask * np.float32(1 / 255)
        return full

    def _is(self, region, names) -> np.ndarray:
        if len(names) == 1:
            return self.label[region] == SPEC.class_id(names[0])
        table = np.zeros(256, np.float32)
        table[[SPEC.class_id(name) for name in names]] = 1
        return table[self.label[region]]

    def _mask(self, outline, margin: int = 1):
        """The part of the canvas that a shape touches, and its uint8 coverage there."""
        outlines = outline if isinstance(outline, list) else [outline]
        points = np.concatenate(outlines) if len(outlines) > 1 else outlines[0]
        low = np.maximum(np.floor(points.min(0)).astype(int) - margin, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + margin + 1, self.size)
        if (high <= low).any():
            return None, None
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fixed = [np.rint((line - low) * (1 << _SHIFT)).astype(np.int32) for line in outlines]
        cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, _SHIFT)
        return (slice(low[1], high[1]), slice(low[0], high[0])), mask
