"""RGB images as files and data URLs."""

import base64

import cv2
import numpy as np

from dmlcsr_jax.datasets.images import encode_image, encode_jpeg
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_bytes
from dmlcsr_jax.paths import Path

_JPEG_QUALITY = 95
_JPEG_SIDE = 65500  # pixels, the limit of libjpeg


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an [H, W, 3] uint8 RGB image as JPEG if the path ends in .jpg, else as PNG; whole or not at all.

    Raises:
      UserError: a side is longer than a JPEG can be.
      OSError: the file cannot be written.
    """
    if path.suffix == ".jpg" and max(image.shape) > _JPEG_SIDE:
        raise UserError(
            f"{path} cannot be written: the sides of a JPEG have at most {_JPEG_SIDE} pixels; leave overlays out"
        )
    data = encode_jpeg(image, quality=_JPEG_QUALITY) if path.suffix == ".jpg" else encode_image(image)
    write_bytes(path, data)


def resize_longer_side(image: np.ndarray, side: int) -> np.ndarray:
    """The image scaled until its longer side has `side` pixels, with its aspect ratio kept."""
    zoom = side / max(image.shape[:2])
    size = max(1, round(zoom * image.shape[1])), max(1, round(zoom * image.shape[0]))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)


def jpeg_url(image: np.ndarray) -> str:
    """A data URL that holds [H, W, 3] uint8 RGB as JPEG."""
    return data_url("image/jpeg", encode_jpeg(image, quality=_JPEG_QUALITY))


def data_url(media_type: str, data: bytes) -> str:
    """The bytes of a file as a URL; `media_type` such as "image/png"."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
