"""Decodes and encodes images and label maps."""

import contextlib
import ctypes
import functools
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from dmlcsr_jax.datasets.deep_images import is_deep, reduce_depth
from dmlcsr_jax.errors import UserError

LABEL_MAP = "a label map; replace it with a PNG file of class numbers"  # for `open_image`
MAX_PIXELS = 178_000_000  # just below the size that Pillow refuses

# Without filters, a label map of few classes is a smaller file and decodes in half the time.
_LABEL_PNG = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 6]


_ORIENTATION = 0x112  # tag of EXIF
_INVERSE = {6: 8, 8: 6}  # the orientations that undo each other; the others undo themselves
_STRIP = 1 << 20  # pixels that are converted at a time, to need less memory
_NEEDS_PROGRAM = ("EPS",)  # Pillow would start Ghostscript


class Decoded(NamedTuple):
    """A decoded image.

    Attributes:
      pixels: [H, W, 3] uint8 RGB.
      orientation: the EXIF orientation of the file, 1 to 8; 1 is upright.
      deep: whether the file has more than 8 bits per channel.
      note: what was assumed about its bit depth; "" if nothing.
    """

    pixels: np.ndarray
    orientation: int
    deep: bool
    note: str


def decode_image(data: bytes, name: str | os.PathLike[str] = "the image", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an image file to [H, W, 3] uint8 RGB, as a viewer shows it; see `decode`."""
    return decode(data, name, max_pixels=max_pixels).pixels


def decode(
    data: bytes,
    name: str | os.PathLike[str] = "the image",
    *,
    max_pixels: int = MAX_PIXELS,
    exif: bool = True,
) -> Decoded:
    """Decodes an image file.

    More than 8 bits are reduced to 8 (see `deep_images`); gray, palette and CMYK images are converted to RGB;
    transparent pixels are blended with white; the first of several frames is used.

    Args:
      data: the contents of the file, in any format that Pillow reads.
      name: the name of the file in errors.
      max_pixels: the largest size allowed, checked before decoding.
      exif: whether the EXIF orientation is applied.

    Raises:
      UserError: the image is too large or cannot be decoded completely.
    """
    with open_image(data, name, "an image; replace it with an intact JPEG or PNG file", max_pixels) as image:
        deep = is_deep(image)  # known before loading
        orientation = exif_orientation(image)
        if deep:
            shallow = reduce_depth(image, data)
            pixels, note = _rgb_pixels(Image.fromarray(shallow.pixels)), shallow.note
        else:
            pixels, note = _rgb_pixels(image), ""
        pixels = apply_orientation(pixels, image, orientation, exif=exif)
    return Decoded(pixels, orientation, deep, note)


@contextlib.contextmanager
def open_image(
    data: bytes, name: str | os.PathLike[str], wanted: str, max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Opens an image file with Pillow; nothing else reads files from outside, because OpenCV's readers print.

    Args:
      data: the contents of the file.
      name: the name of the file in errors.
      wanted: what the file should be, and what to do if it is not; the end of that error.
      max_pixels: the largest size allowed.

    Raises:
      UserError: it is too large, or opening or decoding it, here or in the block, raises anything.
    """
    _silence_libraries()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            if image.format in _NEEDS_PROGRAM:
                raise ValueError(f"{image.format} is not an image format")
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {max_pixels // 10**6} megapixels; reduce its size") from error
    except Exception as error:  # decoders raise almost anything about a broken file
        raise UserError(f"{name} cannot be decoded as {wanted}") from error


@functools.lru_cache
def _silence_libraries() -> None:
    """Turns off output about invalid files, because our errors name them. Called before decoding, by any thread."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # Pillow warns from half the size that it refuses, and about odd metadata.
    warnings.filterwarnings("ignore", module="PIL")
    with contextlib.suppress(AttributeError, OSError):  # where Pillow's library cannot be reached, libtiff prints
        libtiff = ctypes.CDLL(Image.core.__file__)
        libtiff.TIFFSetErrorHandler.argtypes = libtiff.TIFFSetWarningHandler.argtypes = [ctypes.c_void_p]
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)


def rgb_array(image: Image.Image) -> np.ndarray:
    """Converts a Pillow image to [H, W, 3] uint8 RGB as `decode_image` does; ValueError if its pixels are floats."""
    image = ImageOps.exif_transpose(image)
    return _rgb_pixels(Image.fromarray(reduce_depth(image).pixels) if image.mode.startswith("I") else image)


def _rgb_pixels(image: Image.Image) -> np.ndarray:
    """[H, W, 3] uint8 RGB of an image of at most 8 bits per channel."""
    if image.mode == "F":
        raise ValueError("the range of pixels of mode F is unknown; convert the image to RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB") if image.mode != "RGB" else image
    rows = max(_STRIP // image.width, 1)
    if rows >= image.height:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        pixels[top : top + rows] = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
    return pixels


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened file, 1 to 8; 1 if it is missing or invalid."""
    try:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data spoils no pixel, and Pillow raises almost anything about it
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def apply_orientation(pixels: np.ndarray, image: Image.Image, orientation: int, *, exif: bool) -> np.ndarray:
    """Pixels [H, W, ...] that were read from `image`, turned by its EXIF orientation if `exif`, else as stored."""
    is_turned = image.format == "TIFF"  # by Pillow
    if is_turned == exif:
        return pixels
    return turn(pixels, orientation if exif else _INVERSE.get(orientation, orientation))


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns stored pixels [H, W, ...] to the way a viewer shows them, by their EXIF orientation (1 to 8)."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def decode_gray(data: bytes, name: str | os.PathLike[str]) -> np.ndarray:
    """Decodes an image file of any mode to [H, W] uint8 brightness.

    Raises:
      UserError: it cannot be decoded; the message calls it `name`.
    """
    with open_image(data, name, "an image; replace it with an intact PNG file") as image:
        return reduce_depth(image).pixels if image.mode.startswith("I") else np.array(image.convert("L"))


def decode_label(data: bytes, name: str | os.PathLike[str] = "the label map") -> np.ndarray:
    """Decodes a label map to [H, W] uint8 class numbers: gray values, or the palette indices of a palette image.

    Raises:
      UserError: it cannot be decoded, or has several channels or more than 8 bits; the message calls it `name`.
    """
    with open_image(data, name, LABEL_MAP) as image:
        if image.mode not in ("1", "L", "P"):
            raise UserError(
                f"{name} has pixels of mode {image.mode}; label maps need one channel of 8 bits (gray or palette)"
            )
        return np.array(image, np.uint8)


def encode_label(labels: np.ndarray) -> bytes:
    """Encodes [H, W] uint8 class numbers as a gray PNG file."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"labels must be [H, W] uint8, not {labels.shape} {labels.dtype}")
    return cv2.imencode(".png", labels, _LABEL_PNG)[1].tobytes()


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Encodes [H, W, 3] uint8 RGB as a JPEG file; `quality` is 0–100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_image(image: np.ndarray) -> bytes:
    """Encodes [H, W, 3] uint8 RGB as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
