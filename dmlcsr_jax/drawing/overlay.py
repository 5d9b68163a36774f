"""Label maps as pictures that people can look at and programs can read."""

import io
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from dmlcsr_jax.datasets.spec import FaceSpec


def colorize(labels: np.ndarray, spec: FaceSpec) -> np.ndarray:
    """[H, W] uint8 class numbers -> [H, W, 3] uint8 RGB in the palette's colors; ignored pixels gray."""
    table = np.full((256, 3), 128, np.uint8)
    table[: spec.num_classes] = spec.palette
    return table[labels]


def overlay(image: np.ndarray, labels: np.ndarray, spec: FaceSpec, opacity: float = 0.55) -> np.ndarray:
    """The palette's colors over a picture; background and ignored pixels keep the picture.

    Args:
      image: [H, W, 3] uint8 RGB.
      labels: [H, W] uint8.
      spec: the classes.
      opacity: 0 shows the picture alone, 1 the colors alone.

    Returns:
      [H, W, 3] uint8 RGB.
    """
    result = image.copy()
    for rows in strips(labels):
        mixed = cv2.addWeighted(colorize(labels[rows], spec), opacity, image[rows], 1 - opacity, 0)
        shown = (labels[rows] != 0) & (labels[rows] < spec.num_classes)
        np.copyto(result[rows], mixed, where=shown[..., None])
    return result


def strips(labels: np.ndarray, pixels: int = 1 << 20) -> Iterator[slice]:
    """Slices of rows, of about so many pixels each, that cover [H, W]: what is done by them takes little memory."""
    height = max(1, pixels // labels.shape[1])
    return (slice(top, top + height) for top in range(0, labels.shape[0], height))


def count_pixels(labels: np.ndarray) -> np.ndarray:
    """[256] int64: how often each label value is in [H, W] uint8."""
    return sum(np.bincount(labels[rows].ravel(), minlength=256) for rows in strips(labels))


def draw_legend(image: np.ndarray, labels: np.ndarray, spec: FaceSpec) -> np.ndarray:
    """Draws names and colors of the classes present into the corner that holds the fewest of them; returns `image`."""
    present = [i for i in np.flatnonzero(count_pixels(labels)) if 0 < i < spec.num_classes]
    height, width = labels.shape
    line = int(min(height / (len(present) + 1), max(10, height / 28))) if present else 0
    if line < 8:
        return image
    scale = line / 30
    font = cv2.FONT_HERSHEY_SIMPLEX
    text_width = max(cv2.getTextSize(spec.class_names[i], font, scale, 1)[0][0] for i in present)
    box_height, box_width = line * len(present) + line // 2, min(width, text_width + 2 * line)
    corners = [(y, x) for y in (0, height - box_height) for x in (0, width - box_width)]
    top, left = min(corners, key=lambda c: np.count_nonzero(labels[c[0] :, c[1] :][:box_height, :box_width]))
    box = image[top : top + box_height, left : left + box_width]
    box[:] = box // 3
    for row, class_id in enumerate(present):
        y = top + line // 4 + row * line
        color = tuple(int(c) for c in spec.palette[class_id])
        cv2.rectangle(image, (left + line // 4, y + line // 6), (left + line, y + line - line // 6), color, -1)
        origin = (left + line + line // 3, y + line - line // 4)
        cv2.putText(image, spec.class_names[class_id], origin, font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def save_indexed_png(path: str | pathlib.Path, labels: np.ndarray, spec: FaceSpec) -> None:
    """Writes class numbers as a palette PNG: every viewer shows colors, every reader gets the numbers."""
    pathlib.Path(path).write_bytes(encode_indexed_png(labels, spec))


def encode_indexed_png(labels: np.ndarray, spec: FaceSpec) -> bytes:
    """The PNG file of [H, W] uint8 class numbers with the palette of their classes."""
    picture = Image.fromarray(labels, mode="L").copy()
    palette = np.full((256, 3), 128, np.uint8)
    palette[: spec.num_classes] = spec.palette
    picture.putpalette(palette.ravel().tolist())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def panel(images: np.ndarray, labels: np.ndarray, found: np.ndarray, edges: np.ndarray, spec: FaceSpec) -> np.ndarray:
    """One row an example: input, label, prediction, probability of an edge.

    Args:
      images: [B, H, W, 3] uint8 RGB.
      labels: [B, H, W] uint8.
      found: [B, H, W] uint8 predictions.
      edges: [B, H, W] float, 0..1.
      spec: the classes.

    Returns:
      [B H, 4 W, 3] uint8 RGB.
    """
    gray = np.repeat((255 * edges).astype(np.uint8)[..., None], 3, axis=-1)
    columns = [images, colorize(labels, spec), colorize(found, spec), gray]
    return np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)
