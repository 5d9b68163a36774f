"""Images of more than 8 bits per channel, reduced to 8 by the bit depth of their data.

Cameras and scanners put 10, 12 or 14 bits into samples of 16, and tools write 8 bits as integers of 32. Read at the
full range of the samples, such images are almost black.
"""

import io
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image

_DEPTHS = (8, 10, 12, 14, 16)  # of data in wider samples
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339  # tags of TIFF
_MAXIMUM_TAGS = (281, 341, 50717)  # MaxSampleValue, SMaxSampleValue, and WhiteLevel of DNG
_SIGNED = 2
_SCALED_BY_PILLOW = ("PPM", "JPEG2000")  # to 16 bits, from the depth that the file states


class Shallow(NamedTuple):
    """The 8 bits of an image.

    Attributes:
      pixels: [H, W] or [H, W, C] uint8.
      note: what was assumed about the bit depth, for the user; "" if the file states it.
    """

    pixels: np.ndarray
    note: str


def is_deep(image: Image.Image) -> bool:
    """Whether an opened file, or a Pillow image, has integers of more than 8 bits that Pillow does not scale itself."""
    return image.mode.startswith("I") or _low_byte_mode(image) is not None


def reduce_depth(image: Image.Image, data: bytes = b"") -> Shallow:
    """The 8 bits of a deep image.

    The depth is what the file states (BitsPerSample, MaxSampleValue or WhiteLevel in TIFF and DNG, sBIT in PNG), else
    the smallest usual one that holds the largest value, with a note.

    Args:
      image: an image with `is_deep`.
      data: the file that it was opened from, if any.
    """
    full = _sample_width(image)
    stated = _stated_depth(image, data)
    values = _gray(image) if image.mode.startswith("I") else _color(image, data)
    largest = int(values.max(initial=0))
    if stated:
        depth, note = (stated if largest < 2**stated else full), ""
    else:
        depth = next((bits for bits in _DEPTHS if largest < 2**bits), full)
        note = f"{full}-bit values that fit into {depth} bits are read as {depth} bits" if depth < full else ""
    return Shallow(_to_8_bits(values, min(depth, full)), note)


def _to_8_bits(values: np.ndarray, depth: int) -> np.ndarray:
    full = 2**depth - 1
    return ((np.clip(values, 0, full).astype(np.int64) * 255 + full // 2) // full).astype(np.uint8)


def _gray(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    return values.view(np.uint32) if image.mode == "I" and _sample_width(image) == 32 else values


def _color(image: Image.Image, data: bytes) -> np.ndarray:
    """[H, W, C] uint16. Pillow keeps the high bytes of color; in the other byte order these are the low ones."""
    with Image.open(io.BytesIO(data)) as other:
        mode = _low_byte_mode(other)
        other.tile = [tile._replace(args=_with_mode(tile.args, mode)) for tile in other.tile]
        low = np.asarray(other, np.uint16)
    return np.asarray(image, np.uint16) << 8 | low


def _with_mode(arguments: object, mode: str | None) -> object:
    return (mode, *arguments[1:]) if isinstance(arguments, tuple) else mode


def _low_byte_mode(image: Image.Image) -> str | None:
    """The raw mode that reads the low bytes of a color image of 16 bits; None for all other images."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode not in ("RGB", "RGBA") or image.format not in ("PNG", "TIFF"):
        return None
    arguments = tiles[0].args
    raw_mode = arguments if isinstance(arguments, str) else str(arguments[0] if arguments else "")
    native = {"little": "L", "big": "B"}[sys.byteorder]
    for order in ("L", "B", "N"):
        if raw_mode == f"{image.mode};16{order}":
            return f"{image.mode};16{'B' if order.replace('N', native) == 'L' else 'L'}"
    return None


def _sample_width(image: Image.Image) -> int:
    """The bits of a sample, without its sign."""
    if image.format != "TIFF":
        return 16 if image.format in _SCALED_BY_PILLOW or image.mode != "I" else 31
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    return bits - 1 if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED else bits


def _stated_depth(image: Image.Image, data: bytes) -> int | None:
    """The bits of the data according to the file; None if it does not say."""
    if image.format in _SCALED_BY_PILLOW:
        return 16
    if image.format == "PNG":
        return _significant_bits(data)
    if image.format != "TIFF":
        return None
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    if bits not in (16, 32):
        return bits
    for tag in _MAXIMUM_TAGS:
        if tag in tags:
            largest = np.max(tags[tag])
            return int(largest).bit_length() or None
    return None


def _significant_bits(png: bytes) -> int | None:
    """The largest number in the chunk sBIT of a PNG file, which is before its first IDAT."""
    start = png.find(b"sBIT", 0, max(png.find(b"IDAT"), 0))
    if start < 0:
        return None
    length = int.from_bytes(png[start - 4 : start], "big")
    return max(png[start + 4 : start + 4 + min(length, 4)], default=0) or None
