"""Projects face units to pixels, with yaw, pitch, roll, scale and shift.

A face unit is half the width of the head. x points to the right of the image (the subject's left), y down, z to the
viewer. The origin is between the eyes at the depth of the ears.
"""

import dataclasses
import functools

import cv2
import numpy as np
from numpy.typing import ArrayLike

from dmlcsr_jax.datasets.faces.canvas import floats


@dataclasses.dataclass(frozen=True)
class Pose:
    """A head in weak perspective.

    Attributes:
      unit: pixels per face unit.
      center: pixel position of the origin.
      roll, yaw, pitch: radians; positive is clockwise, to the right of the image, up.
      light: unit vector towards the light.
    """

    unit: float
    center: tuple[float, float]
    roll: float
    yaw: float
    pitch: float
    light: tuple[float, float, float]

    def head(self, points: ArrayLike) -> np.ndarray:
        """[N, 3] points of the head -> [N, 2] pixels."""
        return np.asarray(points, np.float32) @ self._axes + floats(self.center)

    def face(self, points: ArrayLike, lift: ArrayLike = 0.0) -> np.ndarray:
        """[N, 2] points on the surface of the face -> [N, 2] pixels; `lift` is a height above it, one number or [N]."""
        points = np.asarray(points, np.float32)
        across, along = points[:, 0] * np.float32(1 / 1.06), (points[:, 1] - np.float32(0.05)) * np.float32(1 / 1.8)
        depth = np.float32(0.95) * np.sqrt(np.maximum(1 - across * across - along * along, 0)) + floats(lift)
        return points @ self._axes[:2] + depth[:, None] * self._axes[2] + floats(self.center)

    def outline(self, points: ArrayLike, depth: ArrayLike = 0.0) -> np.ndarray:
        """[N, 2] points of the silhouette, which keeps its width when the head turns -> [N, 2] pixels.

        `depth` (z) is one number, or one per point.
        """
        depth = np.asarray(depth, np.float32).reshape(-1, 1)
        widened = np.asarray(points, np.float32) * floats([self._widen, 1])
        return widened @ self._axes[:2] + depth * self._axes[2] + floats(self.center)

    def body(self, points: ArrayLike) -> np.ndarray:
        """[N, 2] points of neck and shoulders -> [N, 2] pixels.

        The body rolls by a quarter of the head's roll, and moves sideways so that the neck stays under the chin.
        """
        shift = floats([0.12 * np.sin(self.yaw) - 0.9 * np.sin(self.roll), 0])
        return (np.asarray(points, np.float32) + shift) @ _turn(0.25 * self.roll, self.unit) + floats(self.center)

    @functools.cached_property
    def _axes(self) -> np.ndarray:
        """[3, 2] float32: the x, y and z axes of the head in the image, in pixels per face unit."""
        (sin_yaw, cos_yaw), (sin_pitch, cos_pitch) = _sin_cos(self.yaw), _sin_cos(self.pitch)
        turned = [[cos_yaw, sin_yaw * sin_pitch], [0, cos_pitch], [sin_yaw, -cos_yaw * sin_pitch]]
        return floats(turned) @ _turn(self.roll, self.unit)

    @functools.cached_property
    def _widen(self) -> float:
        sin, cos = _sin_cos(self.yaw)
        return float(np.sqrt(cos * cos + 0.8 * sin * sin) / cos)

    def grid(self, size: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Face coordinates (x, y), float32, of the centers of step × step blocks of pixels, in the outline's plane."""
        pixels = (np.arange(0, size, step, dtype=np.float32) + np.float32(step / 2 - 0.5)).astype(np.float32)
        cos, sin = np.float32(np.cos(self.roll) / self.unit), np.float32(np.sin(self.roll) / self.unit)
        right, down = pixels - np.float32(self.center[0]), pixels - np.float32(self.center[1])
        return cos * right[None] + sin * down[:, None], cos * down[:, None] - sin * right[None]

    def lambert(self, size: int) -> np.ndarray:
        """[S, S] float32: cosine of the light's angle of incidence on an egg-shaped head, about 0–1."""
        coarse = self.grid(size, step=4)
        across, along = coarse[0] * np.float32(1 / 1.2), (coarse[1] - np.float32(0.05)) * np.float32(1 / 1.9)
        front = np.sqrt(np.maximum(1 - across * across - along * along, np.float32(0.04)))
        light = floats(self.light)
        value = np.clip(across * light[0] + along * light[1] + front * light[2], 0, 1)
        return cv2.resize(value, (size, size), interpolation=cv2.INTER_LINEAR)


def _sin_cos(angle: float) -> tuple[float, float]:
    return float(np.sin(angle)), float(np.cos(angle))


def _turn(angle: float, scale: float) -> np.ndarray:
    """[2, 2] float32 matrix that rotates and scales row vectors: `points @ matrix`."""
    sin, cos = _sin_cos(angle)
    return floats([[cos, sin], [-sin, cos]]) * np.float32(scale)
