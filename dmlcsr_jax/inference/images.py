"""Whatever people call a picture, as an array."""

import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from dmlcsr_jax.datasets.images import decode_image, rgb_array
from dmlcsr_jax.errors import UserError

Picture = str | os.PathLike | np.ndarray | Image.Image


def as_array(picture: Picture | Any) -> np.ndarray:
    """[H, W, 3] uint8 RGB of a path, a Pillow picture (of any mode) or an array, which must be just that.

    Raises:
      UserError: a file cannot be read or decoded, or an array is of another shape or type.
    """
    if isinstance(picture, str | os.PathLike):
        return read_picture(pathlib.Path(picture))
    if isinstance(picture, Image.Image):
        try:
            return rgb_array(picture)
        except (OSError, ValueError) as error:
            raise UserError(f"a Pillow picture of mode {picture.mode} cannot be used ({error})") from error
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise UserError(f"a picture must be [H, W, 3] uint8 RGB, not {array.shape} {array.dtype}")
    if not array.size:
        raise UserError(f"a picture of shape {array.shape} has no pixels")
    return array


def is_one(images: Any) -> bool:
    """Whether it is one picture, and no list or batch of them."""
    return isinstance(images, str | os.PathLike | Image.Image) or getattr(images, "ndim", 4) < 4


def read_picture(path: pathlib.Path) -> np.ndarray:
    """[H, W, 3] uint8 RGB of a file; UserError where it cannot be read or decoded."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name a picture file") from error
    if not data:
        raise UserError(f"{path} is empty; replace it by a whole JPEG or PNG file")
    return decode_image(data, path)
