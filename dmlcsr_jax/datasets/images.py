"""Decodes and encodes images and label maps."""

import functools
import io
import os
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from dmlcsr_jax.errors import UserError

MAX_PIXELS = 178_000_000  # just below the size that Pillow refuses

_OPENCV_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_GRAY_OF_8_BITS = b"\x08\x00"  # bit depth and color type in the header of a PNG file
# Without filters, a label map of few classes is a smaller file and decodes in half the time.
_LABEL_PNG = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 6]


@functools.lru_cache
def _silence_libraries() -> None:
    """Turns off output about invalid files, because our errors name them. Called before decoding, by any thread."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # Pillow warns from half the size that it refuses.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode_image(data: bytes, name: str | os.PathLike[str] = "the image", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an image file to [H, W, 3] uint8 RGB, as a viewer shows it.

    The EXIF orientation is applied; 16 bits are reduced to 8; gray, palette and CMYK images are converted to RGB;
    transparent pixels are blended with white; the first of several frames is used.

    Args:
      data: the contents of the file, in any format that Pillow reads.
      name: the name of the file in errors.
      max_pixels: the largest size allowed, checked before decoding.

    Raises:
      UserError: the image is too large or cannot be decoded completely.
    """
    _silence_libraries()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            if _needs_pillow(image):
                return rgb_array(image)
            if image.format == "PNG":
                image.verify()  # OpenCV's reader prints a line about an invalid one
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {max_pixels // 10**6} megapixels; reduce its size") from error
    except (OSError, SyntaxError, ValueError, cv2.error):
        pixels = None
    if pixels is None or pixels.dtype != np.uint8:
        raise UserError(f"{name} cannot be decoded as an image; replace it with an intact JPEG or PNG file")
    return pixels


def rgb_array(image: Image.Image) -> np.ndarray:
    """Converts a Pillow image to [H, W, 3] uint8 RGB as `decode_image` does; ValueError if its pixels are floats."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("the range of pixels of mode F is unknown; convert the image to RGB")
    if image.mode.startswith("I"):  # 16 bits of gray
        gray = np.clip((np.asarray(image, np.int64) + 128) // 257, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _needs_pillow(image: Image.Image) -> bool:
    """Whether OpenCV, which needs less memory, would decode nothing or something else."""
    other = image.format not in _OPENCV_FORMATS or image.mode not in ("RGB", "L")
    return other or image.has_transparency_data or getattr(image, "is_animated", False)


def decode_gray(data: bytes, name: str | os.PathLike[str]) -> np.ndarray:
    """Decodes an image file of any mode to [H, W] uint8 brightness.

    Raises:
      UserError: it cannot be decoded; the message calls it `name`.
    """
    gray = _decode_gray(data)
    if gray is None:
        raise UserError(f"{name} cannot be decoded as an image; replace it with an intact PNG file")
    return gray


def decode_label(data: bytes, name: str | os.PathLike[str] = "the label map") -> np.ndarray:
    """Decodes a label map to [H, W] uint8 class numbers: gray values, or the palette indices of a palette image.

    Raises:
      UserError: it cannot be decoded, or has several channels or more than 8 bits; the message calls it `name`.
    """
    if data[12:16] == b"IHDR" and data[24:26] == _GRAY_OF_8_BITS:
        labels = _decode_gray(data)
        if labels is None:
            raise UserError(f"{name} cannot be decoded as a label map; replace it with a PNG file of class numbers")
        return labels
    _silence_libraries()
    try:
        with Image.open(io.BytesIO(data)) as image:  # OpenCV would convert palette indices to colors
            if image.mode not in ("1", "L", "P"):
                raise UserError(
                    f"{name} has pixels of mode {image.mode}; label maps need one channel of 8 bits (gray or palette)"
                )
            return np.array(image, np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{name} cannot be decoded as a label map; replace it with a PNG file of class numbers"
        ) from error


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


def _decode_gray(data: bytes) -> np.ndarray | None:
    _silence_libraries()
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
