"""Encoded pictures and label maps to arrays and back."""

import io
import os

import cv2
import numpy as np
from PIL import Image

from dmlcsr_jax.errors import UserError

# OpenCV would print its own complaint about a broken file beside ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode_image(data: bytes, name: str | os.PathLike = "the picture") -> np.ndarray:
    """[H, W, 3] uint8 RGB of an encoded picture, turned as its EXIF orientation says.

    Args:
      data: a file's bytes, in any format that OpenCV reads.
      name: what to call it in the UserError raised where it cannot be decoded.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise UserError(f"{name} cannot be decoded as a picture; replace it by a whole JPEG or PNG file")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_label(data: bytes, name: str | os.PathLike = "the label map") -> np.ndarray:
    """[H, W] uint8 class numbers of an encoded label map: grey values, or the indices of a picture with a palette.

    Raises UserError, which calls the map `name`, where it cannot be decoded or has more channels or bits than that.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:  # OpenCV would turn indices into colours
            if picture.mode not in ("1", "L", "P"):
                raise UserError(
                    f"{name} has pixels of mode {picture.mode}; label maps need one channel of 8 bits (grey or palette)"
                )
            labels = np.array(picture, np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} cannot be decoded as a label map; replace it by a PNG of class numbers") from error
    return labels


def encode_label(labels: np.ndarray) -> bytes:
    """The PNG file, one grey channel, of [H, W] uint8 class numbers."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"labels must be [H, W] uint8, not {labels.shape} {labels.dtype}")
    return cv2.imencode(".png", labels)[1].tobytes()


def encode_image(image: np.ndarray) -> bytes:
    """The PNG file of [H, W, 3] uint8 RGB."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
