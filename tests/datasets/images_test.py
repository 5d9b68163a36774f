"""Any image file decodes to the RGB that a viewer shows, or fails with one line that names the problem."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.errors import UserError

COARSE = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
RGB = cv2.resize(COARSE, (60, 40), interpolation=cv2.INTER_CUBIC)
IMAGE = Image.fromarray(RGB)
GRAY = np.asarray(IMAGE.convert("L"))


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def assert_decodes_to(data, expected, atol=0):
    decoded = decode_image(data)
    assert decoded.dtype == np.uint8 and decoded.shape == expected.shape
    np.testing.assert_allclose(decoded.astype(int), expected.astype(int), atol=atol)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(form, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    data = encoded(IMAGE, form, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape[:2] == ((40, 60) if orientation < 5 else (60, 40))
    assert_decodes_to(data, expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits(suffix):
    gray = cv2.imencode(suffix, GRAY.astype(np.uint16) * 257)[1].tobytes()
    assert_decodes_to(gray, np.repeat(GRAY[..., None], 3, axis=-1))
    assert_decodes_to(cv2.imencode(suffix, RGB[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), RGB)


def test_gray_palette_and_cmyk():
    assert_decodes_to(encoded(IMAGE.convert("L"), "PNG"), np.repeat(GRAY[..., None], 3, axis=-1))
    palette = IMAGE.quantize(16)
    assert_decodes_to(encoded(palette, "PNG"), np.asarray(palette.convert("RGB")))
    assert_decodes_to(encoded(IMAGE.convert("CMYK"), "TIFF"), RGB, atol=1)
    assert_decodes_to(encoded(IMAGE.convert("CMYK"), "JPEG", quality=100), RGB, atol=8)
    assert_decodes_to(
        encoded(palette, "GIF", save_all=True, append_images=[IMAGE.rotate(180)]), np.asarray(palette.convert("RGB"))
    )


def test_transparency_is_blended_with_white():
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 30:] = 255
    for form in ("PNG", "WEBP"):
        data = encoded(Image.fromarray(np.dstack([RGB, alpha])), form, **({"lossless": True} if form == "WEBP" else {}))
        assert_decodes_to(data, np.where(alpha[..., None] > 0, RGB, np.uint8(255)))
    gray = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(alpha)])
    assert_decodes_to(encoded(gray, "PNG"), np.where(alpha > 0, GRAY, np.uint8(255))[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is text",
        b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
        encoded(IMAGE, "JPEG")[:300],
        encoded(IMAGE, "PNG")[:-300],
        encoded(IMAGE.convert("P"), "PNG")[:-100],
        encoded(IMAGE, "WEBP")[:-30],
        cv2.imencode(".tif", RGB.astype(np.float32))[1].tobytes(),
        cv2.imencode(".tif", GRAY.astype(np.float32))[1].tobytes(),
    ],
    ids=["empty", "text", "svg", "jpeg cut", "png cut", "palette cut", "webp cut", "float rgb", "float gray"],
)
def test_undecodable_files_are_named_without_library_output(data, capfd):
    with pytest.raises(UserError, match=r"odd\.jpg cannot be decoded as an image"):
        decode_image(data, "odd.jpg")
    assert capfd.readouterr() == ("", "")


def test_image_size_is_checked_before_decoding():
    bomb = encoded(Image.new("1", (20000, 10000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(UserError, match="bomb has more than 178 megapixels"):
        decode_image(bomb, "bomb")
    with pytest.raises(UserError, match="more than 1 megapixels"):
        decode_image(encoded(Image.new("RGB", (1001, 1000)), "PNG"), max_pixels=1_000_000)
