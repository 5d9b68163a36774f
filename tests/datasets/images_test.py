"""Any picture file becomes the RGB that a viewer shows, or one line that says why not."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.errors import UserError

COARSE = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
RGB = cv2.resize(COARSE, (60, 40), interpolation=cv2.INTER_CUBIC)
PICTURE = Image.fromarray(RGB)
GRAY = np.asarray(PICTURE.convert("L"))


def encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def same(data, expected, atol=0):
    decoded = decode_image(data)
    assert decoded.dtype == np.uint8 and decoded.shape == expected.shape
    np.testing.assert_allclose(decoded.astype(int), expected.astype(int), atol=atol)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(form, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    data = encoded(PICTURE, form, exif=exif)
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert expected.shape[:2] == ((40, 60) if orientation < 5 else (60, 40))
    same(data, expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits(suffix):
    gray = cv2.imencode(suffix, GRAY.astype(np.uint16) * 257)[1].tobytes()
    same(gray, np.repeat(GRAY[..., None], 3, axis=-1))
    same(cv2.imencode(suffix, RGB[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), RGB)


def test_grey_palette_and_cmyk():
    same(encoded(PICTURE.convert("L"), "PNG"), np.repeat(GRAY[..., None], 3, axis=-1))
    palette = PICTURE.quantize(16)
    same(encoded(palette, "PNG"), np.asarray(palette.convert("RGB")))
    same(encoded(PICTURE.convert("CMYK"), "TIFF"), RGB, atol=1)
    same(encoded(PICTURE.convert("CMYK"), "JPEG", quality=100), RGB, atol=8)
    same(
        encoded(palette, "GIF", save_all=True, append_images=[PICTURE.rotate(180)]), np.asarray(palette.convert("RGB"))
    )


def test_what_is_transparent_lies_on_white():
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 30:] = 255
    for form in ("PNG", "WEBP"):
        data = encoded(Image.fromarray(np.dstack([RGB, alpha])), form, **({"lossless": True} if form == "WEBP" else {}))
        same(data, np.where(alpha[..., None] > 0, RGB, np.uint8(255)))
    gray = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(alpha)])
    same(encoded(gray, "PNG"), np.where(alpha > 0, GRAY, np.uint8(255))[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is text",
        b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
        encoded(PICTURE, "JPEG")[:300],
        encoded(PICTURE, "PNG")[:-300],
        encoded(PICTURE.convert("P"), "PNG")[:-100],
        encoded(PICTURE, "WEBP")[:-30],
        cv2.imencode(".tif", RGB.astype(np.float32))[1].tobytes(),
        cv2.imencode(".tif", GRAY.astype(np.float32))[1].tobytes(),
    ],
    ids=["empty", "text", "svg", "jpeg cut", "png cut", "palette cut", "webp cut", "float rgb", "float gray"],
)
def test_what_cannot_be_decoded_is_named(data, capfd):
    with pytest.raises(UserError, match=r"odd\.jpg cannot be decoded as a picture"):
        decode_image(data, "odd.jpg")
    assert capfd.readouterr() == ("", "")  # no library adds lines of its own


def test_too_large_a_picture_is_refused_before_it_is_decoded():
    bomb = encoded(Image.new("1", (20000, 10000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(UserError, match="bomb has more than 178 megapixels"):
        decode_image(bomb, "bomb")
    with pytest.raises(UserError, match="more than 1 megapixels"):
        decode_image(encoded(Image.new("RGB", (1001, 1000)), "PNG"), max_pixels=1_000_000)
