"""Images of more than 8 bits are as bright as a viewer shows them, whatever the depth of their data."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dmlcsr_jax.datasets.images import decode, decode_image

RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (20, 30)).astype(np.uint8)
EIGHT[0, 0] = 255
COLOR = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
COLOR[0, 0] = 255


def at_depth(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The same brightness in `bits` bits."""
    full = 2**bits - 1
    return ((pixels.astype(np.int64) * full + 127) // 255).astype(np.uint32)


def as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=-1)


def tiff(image: Image.Image, tags: dict[int, int] | None = None) -> bytes:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        directory[tag] = value
    file = io.BytesIO()
    image.save(file, "TIFF", tiffinfo=directory)
    return file.getvalue()


def packed_tiff(values: np.ndarray) -> bytes:
    """A gray TIFF of 12 bits per sample; `values` [H, W] with an even W."""
    height, width = values.shape
    first, second = values[:, ::2].astype(np.uint32), values[:, 1::2].astype(np.uint32)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(packed))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed + directory


def with_significant_bits(png: bytes, bits: list[int]) -> bytes:
    body = b"sBIT" + bytes(bits)
    return png[:33] + struct.pack(">I", len(bits)) + body + struct.pack(">I", zlib.crc32(body)) + png[33:]


def encoded(suffix: str, values: np.ndarray) -> bytes:
    return cv2.imencode(suffix, values.astype(np.uint16))[1].tobytes()


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_integer_tiffs_of_small_values_are_not_black(dtype):
    decoded = decode(tiff(Image.fromarray(EIGHT.astype(np.int32))) if dtype == np.int32 else unsigned_tiff(EIGHT))
    np.testing.assert_array_equal(decoded.pixels, as_rgb(EIGHT))
    assert "fit into 8 bits are read as 8 bits" in decoded.note


def unsigned_tiff(values: np.ndarray) -> bytes:
    """A gray TIFF of unsigned integers of 32 bits."""
    height, width = values.shape
    body = values.astype("<u4").tobytes()
    tags = [(256, width), (257, height), (258, 32), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(body)), (339, 1)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_unsigned_integers_use_their_whole_range():
    np.testing.assert_array_equal(decode_image(unsigned_tiff(EIGHT.astype(np.int64) * 0x01010101)), as_rgb(EIGHT))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_depth_of_data_in_16_bits_is_found_from_the_values_and_said(suffix, bits):
    for pixels, rgb in ((EIGHT, as_rgb(EIGHT)), (COLOR, COLOR[..., ::-1])):
        decoded = decode(encoded(suffix, at_depth(pixels, bits)))
        np.testing.assert_array_equal(decoded.pixels, rgb)
        assert decoded.note == f"16-bit values that fit into {bits} bits are read as {bits} bits"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_color_and_transparency_of_12_bits(suffix):
    alpha = np.where(np.arange(30) < 15, 0, 4095)
    rgba = np.dstack([at_depth(COLOR, 12), np.broadcast_to(alpha, (20, 30))])
    expected = np.where(alpha[:, None] > 0, COLOR[..., ::-1], 255)
    np.testing.assert_array_equal(decode_image(encoded(suffix, rgba)), expected)


def test_a_dark_image_whose_file_states_the_depth_stays_dark():
    dark = EIGHT // 8
    values = Image.fromarray(at_depth(dark, 12).astype(np.uint16))
    for tag in (281, 341, 50717):
        decoded = decode(tiff(values, {tag: 4095}))
        np.testing.assert_array_equal(decoded.pixels, as_rgb(dark))
        assert not decoded.note
    png = with_significant_bits(encoded(".png", at_depth(dark, 12)), [12])
    np.testing.assert_array_equal(decode_image(png), as_rgb(dark))


def test_packed_12_bits():
    for pixels in (EIGHT, EIGHT // 8):
        decoded = decode(packed_tiff(at_depth(pixels, 12)))
        np.testing.assert_array_equal(decoded.pixels, as_rgb(pixels))
        assert not decoded.note


def test_significant_bits_of_values_scaled_to_16_bits():
    """As the PNG specification has it: sBIT tells how many of the high bits count."""
    png = with_significant_bits(encoded(".png", at_depth(EIGHT, 16)), [12])
    np.testing.assert_array_equal(decode_image(png), as_rgb(EIGHT))


def test_formats_that_state_their_depth():
    for maximum, bits in ((65535, 16), (4095, 12)):
        body = at_depth(EIGHT // 8, bits).astype(">u2").tobytes()
        np.testing.assert_array_equal(decode_image(b"P5 30 20 %d\n" % maximum + body), as_rgb(EIGHT // 8))
    file = io.BytesIO()
    Image.fromarray(at_depth(EIGHT, 16).astype(np.uint16)).save(file, "JPEG2000")
    np.testing.assert_array_equal(decode_image(file.getvalue()), as_rgb(EIGHT))
