"""Where things are: from face units to pixels, under yaw, pitch, roll, scale and shift.

A face unit is half the width of the head. x points to the right of the picture (the subject's left), y
down, z to the viewer; the origin lies between the eyes at the depth of the ears.
"""

import dataclasses
import functools

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class Pose:
    """A head seen by weak perspective.

    Attributes:
      unit: pixels a face unit.
      center: pixel position of the origin.
      roll, yaw, pitch: radians; positive rolls clockwise, turns to the right of the picture, looks up.
      light: direction to the light, unit length.
    """

    unit: float
    center: tuple[float, float]
    roll: float
    yaw: float
    pitch: float
    light: tuple[float, float, float]

    def head(self, points) -> np.ndarray:
        """[N, 3] points of the head -> [N, 2] pixels."""
        return np.asarray(points, np.float32) @ self._axes + np.float32(self.center)

    def face(self, points, lift=0.0) -> np.ndarray:
        """[N, 2] points on the front of the face, lifted off it by a depth or one each -> [N, 2] pixels."""
        points = np.asarray(points, np.float32)
        across, along = points[:, 0] * np.float32(1 / 1.06), (points[:, 1] - np.float32(0.05)) * np.float32(1 / 1.8)
        depth = np.float32(0.95) * np.sqrt(np.maximum(1 - across * across - along * along, 0)) + np.float32(lift)
        return points @ self._axes[:2] + depth[:, None] * self._axes[2] + np.float32(self.center)

    def outline(self, points, depth=0.0) -> np.ndarray:
        """[N, 2] points of a silhouette, which does not narrow as the head turns -> [N, 2] pixels.

        depth is one number or one a point.
        """
        depth = np.asarray(depth, np.float32).reshape(-1, 1)
        widened = np.asarray(points, np.float32) * np.float32([self._widen, 1])
        return widened @ self._axes[:2] + depth * self._axes[2] + np.float32(self.center)

    def body(self, points) -> np.ndarray:
        """[N, 2] points of neck and shoulders -> [N, 2] pixels.

        They lean by a quarter of the head's roll and move sideways so that the neck stays under the chin.
        """
        aside = np.float32([0.12 * np.sin(self.yaw) - 0.9 * np.sin(self.roll), 0])
        return (np.asarray(points, np.float32) + aside) @ _turn(0.25 * self.roll, self.unit) + np.float32(self.center)

    @functools.cached_property
    def _axes(self) -> np.ndarray:
        """[3, 2] float32: where the x, y and z axes of the head point to in the picture, in pixels a unit."""
        (sin_yaw, cos_yaw), (sin_pitch, cos_pitch) = _sin_cos(self.yaw), _sin_cos(self.pitch)
        turned = [[cos_yaw, sin_yaw * sin_pitch], [0, cos_pitch], [sin_yaw, -cos_yaw * sin_pitch]]
        return np.float32(turned) @ _turn(self.roll, self.unit)

    @functools.cached_property
    def _widen(self) -> float:
        sin, cos = _sin_cos(self.yaw)
        return float(np.sqrt(cos * cos + 0.8 * sin * sin) / cos)

    def grid(self, size: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Face coordinates (x, y) of the middles of every step × step pixels, float32, in the plane of the outline."""
        pixels = (np.arange(0, size, step, dtype=np.float32) + np.float32(step / 2 - 0.5)).astype(np.float32)
        cos, sin = np.float32(np.cos(self.roll) / self.unit), np.float32(np.sin(self.roll) / self.unit)
        right, down = pixels - np.float32(self.center[0]), pixels - np.float32(self.center[1])
        return cos * right[None] + sin * down[:, None], cos * down[:, None] - sin * right[None]

    def lambert(self, size: int) -> np.ndarray:
        """[S, S] float32: how directly the light falls on an egg-shaped head; about 0..1."""
        coarse = self.grid(size, step=4)
        across, along = coarse[0] * np.float32(1 / 1.2), (coarse[1] - np.float32(0.05)) * np.float32(1 / 1.9)
        front = np.sqrt(np.maximum(1 - across * across - along * along, np.float32(0.04)))
        light = np.float32(self.light)
        value = np.clip(across * light[0] + along * light[1] + front * light[2], 0, 1)
        return cv2.resize(value, (size, size), interpolation=cv2.INTER_LINEAR)


def _sin_cos(angle: float) -> tuple[float, float]:
    return float(np.sin(angle)), float(np.cos(angle))


def _turn(angle: float, scale: float) -> np.ndarray:
    """[2, 2] float32: turns and scales points that are multiplied by it from the left."""
    sin, cos = _sin_cos(angle)
    return np.float32([[cos, sin], [-sin, cos]]) * np.float32(scale)
