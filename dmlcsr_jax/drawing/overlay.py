"""Label maps drawn over images, and panels that compare predictions with labels."""

import cv2
import numpy as np

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.drawing.label_maps import colorize, strips


def draw_overlay(image: np.ndarray, labels: np.ndarray, spec: FaceSpec, *, opacity: float = 0.55) -> np.ndarray:
    """Blends the palette's colors into an image; background and ignored pixels keep the image.

    Args:
      image: [H, W, 3] uint8 RGB.
      labels: [H, W] uint8.
      spec: the classes.
      opacity: 0..1; 0 shows the image alone, 1 the colors alone.

    Returns:
      [H, W, 3] uint8 RGB, a new array.
    """
    result = image.copy()
    shown = np.zeros(256, np.uint8)
    shown[1 : spec.num_classes] = 1
    for rows in strips(labels):
        mixed = cv2.addWeighted(colorize(labels[rows], spec), opacity, image[rows], 1 - opacity, 0)
        cv2.copyTo(mixed, cv2.LUT(labels[rows], shown), result[rows])
    return result


def panel(
    images: np.ndarray, *, labels: np.ndarray, predictions: np.ndarray, edges: np.ndarray, spec: FaceSpec
) -> np.ndarray:
    """One row per example: input, label, prediction, edge probability.

    Args:
      images: [B, H, W, 3] uint8 RGB.
      labels: [B, H, W] uint8.
      predictions: [B, H, W] uint8.
      edges: [B, H, W] float, 0..1; shown from black to white.
      spec: the classes.

    Returns:
      [B H, 4 W, 3] uint8 RGB.
    """
    gray = np.repeat((255 * edges).astype(np.uint8)[..., None], 3, axis=-1)
    columns = [images, colorize(labels, spec), colorize(predictions, spec), gray]
    return np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)
