"""Legends: the names and colors of the classes in an image."""

import cv2
import numpy as np

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.drawing.label_maps import count_pixels

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MIN_LINE = 8  # pixels; smaller text is not readable
_WHITE = (255, 255, 255)


def draw_legend(image: np.ndarray, labels: np.ndarray, spec: FaceSpec) -> np.ndarray:
    """Draws a legend of the foreground classes present into the corner with the fewest foreground pixels.

    An image that is too small for readable text gets no legend.

    Args:
      image: [H, W, 3] uint8 RGB; changed in place.
      labels: [H, W] uint8.
      spec: the classes.

    Returns:
      `image`.
    """
    present = [int(i) for i in np.flatnonzero(count_pixels(labels)) if 0 < i < spec.num_classes]
    height, width = labels.shape
    line = int(min(height / (len(present) + 1), max(10, height / 28))) if present else 0
    if line < _MIN_LINE:
        return image
    scale = line / 30
    text_width = max(cv2.getTextSize(spec.class_names[i], _FONT, scale, 1)[0][0] for i in present)
    box_height, box_width = line * len(present) + line // 2, min(width, text_width + 2 * line)
    top, left = _emptiest_corner(labels, box_height, box_width)
    box = image[top : top + box_height, left : left + box_width]
    box[:] = box // 3
    for row, class_id in enumerate(present):
        y = top + line // 4 + row * line
        color = tuple(int(c) for c in spec.palette[class_id])
        cv2.rectangle(image, (left + line // 4, y + line // 6), (left + line, y + line - line // 6), color, -1)
        origin = (left + line + line // 3, y + line - line // 4)
        cv2.putText(image, spec.class_names[class_id], origin, _FONT, scale, _WHITE, 1, cv2.LINE_AA)
    return image


def _emptiest_corner(labels: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """(top, left) of the box of this size that covers the fewest foreground pixels, among the four corners."""
    corners = [(top, left) for top in (0, labels.shape[0] - height) for left in (0, labels.shape[1] - width)]
    return min(corners, key=lambda c: np.count_nonzero(labels[c[0] :, c[1] :][:height, :width]))
