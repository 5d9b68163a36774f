"""Encoded pictures and label maps to arrays and back."""

import io
import os
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from dmlcsr_jax.errors import UserError

# OpenCV would print its own complaint about a broken file beside ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
MAX_PIXELS = 178_000_000  # Pillow itself refuses a little more
# From half of that on Pillow warns; the refusal is enough.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_GRAY_OF_8_BITS = b"\x08\x00"  # bit depth and color type in the header of a PNG file
# Unfiltered, a map of few classes is both a smaller file and decoded in half the time.
_LABEL_PNG = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 6]


def decode_image(data: bytes, name: str | os.PathLike = "the picture", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """[H, W, 3] uint8 RGB of an encoded picture, as a viewer shows it.

    It is turned as its EXIF orientation says; 16 bits are brought to 8, gray, palette and CMYK to RGB, what is
    transparent lies on white, and of several frames the first is taken.

    Args:
      data: a file's bytes, in any format that Pillow knows.
      name: what to call it in the UserError raised where it cannot be decoded whole, or is too large.
      max_pixels: how large it may be, told before it is decoded.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > max_pixels:
                raise Image.DecompressionBombError
            if _needs_pillow(picture):
                return rgb_array(picture)
            if picture.format == "PNG":
                picture.verify()  # OpenCV's reader would print its own line about a broken one
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {max_pixels // 10**6} megapixels; make it smaller") from error
    except (OSError, SyntaxError, ValueError, cv2.error):
        image = None
    if image is None or image.dtype != np.uint8:
        raise UserError(f"{name} cannot be decoded as a picture; replace it by a whole JPEG or PNG file")
    return image


def rgb_array(picture: Image.Image) -> np.ndarray:
    """[H, W, 3] uint8 RGB of a Pillow picture; see `decode_image`. ValueError where its pixels are of floats."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":
        raise ValueError("pixels of mode F have no range that is known; convert the picture to RGB")
    if picture.mode.startswith("I"):  # 16 bits of gray
        gray = np.clip((np.asarray(picture, np.int64) + 128) // 257, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=-1)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _needs_pillow(picture: Image.Image) -> bool:
    """Whether OpenCV, which takes less memory, would show something else."""
    return picture.has_transparency_data or picture.mode not in ("RGB", "L") or getattr(picture, "is_animated", False)


def decode_gray(data: bytes, name: str | os.PathLike) -> np.ndarray:
    """[H, W] uint8 brightness of an encoded picture, colors and palettes included; arguments as `decode_image`."""
    image = _decoded(data, cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise UserError(f"{name} cannot be decoded as a picture; replace it by a whole PNG file")
    return image


def decode_label(data: bytes, name: str | os.PathLike = "the label map") -> np.ndarray:
    """[H, W] uint8 class numbers of an encoded label map: gray values, or the indices of a picture with a palette.

    Raises UserError, which calls the map `name`, where it cannot be decoded or has more channels or bits than that.
    """
    if data[12:16] == b"IHDR" and data[24:26] == _GRAY_OF_8_BITS:
        labels = _decoded(data, cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise UserError(f"{name} cannot be decoded as a label map; replace it by a PNG of class numbers")
        return labels
    try:
        with Image.open(io.BytesIO(data)) as picture:  # OpenCV would turn indices into colors
            if picture.mode not in ("1", "L", "P"):
                raise UserError(
                    f"{name} has pixels of mode {picture.mode}; label maps need one channel of 8 bits (gray or palette)"
                )
            labels = np.array(picture, np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} cannot be decoded as a label map; replace it by a PNG of class numbers") from error
    return labels


def encode_label(labels: np.ndarray) -> bytes:
    """The PNG file, one gray channel, of [H, W] uint8 class numbers."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"labels must be [H, W] uint8, not {labels.shape} {labels.dtype}")
    return cv2.imencode(".png", labels, _LABEL_PNG)[1].tobytes()


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """The JPEG file, of a quality in 0..100, of [H, W, 3] uint8 RGB."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_image(image: np.ndarray) -> bytes:
    """The PNG file of [H, W, 3] uint8 RGB."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _decoded(data: bytes, flags: int) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
