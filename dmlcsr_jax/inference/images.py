"""Reads every kind of image that callers pass: paths, Pillow images, arrays."""

import os
import pathlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

from dmlcsr_jax.console import warn
from dmlcsr_jax.datasets.formats import HEIF_EXTRA, lacks_heif
from dmlcsr_jax.datasets.images import decode, rgb_array
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import local_path
from dmlcsr_jax.types import Array

ImageLike: TypeAlias = str | os.PathLike | Array | Image.Image


def as_array(image: ImageLike) -> np.ndarray:
    """Converts an image to [H, W, 3] uint8 RGB.

    Args:
      image: a path, a Pillow image of any mode, or an array that already is [H, W, 3] uint8 RGB.

    Raises:
      UserError: a file cannot be read or decoded, or an array has another shape or dtype.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(local_path(image, "", "copy it to a local file"))
    if isinstance(image, Image.Image):
        try:
            return rgb_array(image)
        except Exception as error:  # decoders raise almost anything about a broken file
            raise UserError(f"a Pillow image of mode {image.mode} cannot be used ({error})") from error
    _refuse_other_kinds(image)
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        advice = "PIL.Image.fromarray(array) takes gray and RGBA arrays of uint8"
        if np.issubdtype(array.dtype, np.floating):
            advice = "multiply values in 0..1 by 255 and round them to uint8"
        raise UserError(f"an image must be [H, W, 3] uint8 RGB, not {array.shape} {array.dtype}; {advice}")
    if not array.size:
        raise UserError(f"an image of shape {array.shape} has no pixels")
    return array


def _refuse_other_kinds(image: object) -> None:
    if image is None or isinstance(image, bytes) or hasattr(image, "read"):
        raise UserError(f"an image must be a path, an array or a Pillow image, not {type(image).__name__}")


def as_arrays(images: ImageLike | Sequence[ImageLike]) -> tuple[list[np.ndarray], bool]:
    """Converts one image, a [B, H, W, 3] array or a list; each image as in `as_array`.

    Returns:
      The images, and whether a single one was given.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return [as_array(images)], True
    _refuse_other_kinds(images)
    if not isinstance(images, Sequence) and getattr(images, "ndim", 4) < 4:
        return [as_array(images)], True
    return [as_array(image) for image in images], False


def read_image(path: pathlib.Path) -> np.ndarray:
    """[H, W, 3] uint8 RGB of a file.

    Raises:
      UserError: it cannot be read or decoded.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); name an image file") from error
    if not data:
        raise UserError(f"{path} is empty; replace it by a whole JPEG or PNG file")
    if lacks_heif(data):
        raise UserError(f"{path} is a HEIF file; {HEIF_EXTRA} reads it")
    decoded = decode(data, path)
    if decoded.note:
        warn(decoded.note, example=str(path))
    return decoded.pixels
