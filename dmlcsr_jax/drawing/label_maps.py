"""Label maps as colors, pixel counts and PNG files."""

import io
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from dmlcsr_jax.datasets.spec import FaceSpec

_GRAY = 128  # the color of ignored pixels
_RUN_LENGTHS = 3  # zlib's strategy Z_RLE: for label maps smaller files than the default's, in a fifth of the time


def color_table(spec: FaceSpec) -> np.ndarray:
    """[256, 3] uint8 RGB color of every label value; gray for values that are no class."""
    table = np.full((256, 3), _GRAY, np.uint8)
    table[: spec.num_classes] = spec.palette
    return table


def colorize(labels: np.ndarray, spec: FaceSpec) -> np.ndarray:
    """[..., H, W] uint8 class numbers -> [..., H, W, 3] uint8 RGB in the palette's colors; ignored pixels gray."""
    colors = cv2.applyColorMap(labels.reshape(-1, labels.shape[-1]), color_table(spec)[:, None])
    return colors.reshape(*labels.shape, 3)


def strips(labels: np.ndarray, pixels: int = 1 << 20) -> Iterator[slice]:
    """Row slices that cover [H, W], of about `pixels` pixels each; working on one at a time saves memory."""
    height = max(1, pixels // labels.shape[1])
    return (slice(top, top + height) for top in range(0, labels.shape[0], height))


def count_pixels(labels: np.ndarray) -> np.ndarray:
    """[256] int64: the number of pixels of each label value in [H, W] uint8."""
    counts = np.zeros(256, np.int64)
    for rows in strips(labels):  # a histogram is float32, which is exact up to 2^24
        counts += cv2.calcHist([labels[rows]], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def encode_indexed_png(labels: np.ndarray, spec: FaceSpec) -> bytes:
    """A PNG file of [H, W] uint8 class numbers with a palette: viewers show colors, Pillow reads the numbers."""
    image = Image.fromarray(labels).copy()  # a palette cannot be attached to a view of the array
    image.putpalette(color_table(spec).ravel().tolist())
    file = io.BytesIO()
    image.save(file, "PNG", compress_type=_RUN_LENGTHS)
    return file.getvalue()


def write_indexed_png(path: pathlib.Path, labels: np.ndarray, spec: FaceSpec) -> None:
    """Writes `encode_indexed_png` into a file."""
    path.write_bytes(encode_indexed_png(labels, spec))
