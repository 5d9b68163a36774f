"""Reads label maps as people have them: gray, palette, or painted with colors; refuses what changes class numbers."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from dmlcsr_jax.datasets import images
from dmlcsr_jax.datasets.label_colors import ColorTable, read_colors
from dmlcsr_jax.datasets.spec import IGNORE_ID, Color
from dmlcsr_jax.errors import UserError

_LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "JPEG2000": "JPEG 2000", "AVIF": "AVIF", "HEIF": "HEIC"}
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")


class LabelMap(NamedTuple):
    """A label map.

    Attributes:
      labels: [H, W] uint8 class numbers.
      palette: class number that is used -> its RGB color in the file's palette; empty unless the numbers are indices.
      orientation: the EXIF orientation of the file, 1 to 8.
    """

    labels: np.ndarray
    palette: Mapping[int, Color]
    orientation: int


def read_label_map(
    data: bytes,
    path: str | os.PathLike[str],
    *,
    num_classes: int = 0,
    table: ColorTable | None = None,
    exif: bool = True,
) -> LabelMap:
    """Reads the file of a label map.

    With a table of colors, palettes and color channels are read by it, and gray values if all of them are its colors.
    Otherwise the class numbers are gray values or palette indices. A palette that is only the gray values that are
    used, as optimizers of PNG files write it, stands for these gray values.

    Args:
      data: the contents of the file.
      path: the file, for errors.
      num_classes: the number of classes; 0 if palettes are always indices.
      table: the class numbers of colors, if there are any.
      exif: whether the EXIF orientation is applied.

    Raises:
      UserError: the file cannot be decoded, is of a lossy format, has channels or a color that mean no class.
    """
    with images.open_image(data, path, images.LABEL_MAP) as image:
        _refuse_lossy(image, data, path)
        orientation = images.exif_orientation(image)
        labels, palette = _read(image, path, num_classes, table)
        labels = images.apply_orientation(labels, image, orientation, exif=exif)
    return LabelMap(labels, palette, orientation)


def lossy_format(suffix: str) -> str | None:
    """The format of files with this suffix, if it cannot hold label maps."""
    found = Image.registered_extensions().get(suffix.lower(), "")
    return _LOSSY.get(found)


def _refuse_lossy(image: Image.Image, data: bytes, path: str | os.PathLike[str]) -> None:
    kind = _LOSSY.get(image.format or "")
    if image.format == "WEBP" and _has_lossy_frame(data):
        kind = "lossy WebP"
    elif image.format == "TIFF" and image.info.get("compression") in _LOSSY_TIFF:
        kind = "JPEG-compressed TIFF"
    if kind:
        raise UserError(
            f"{path} is a {kind} file, which changes class numbers; export the label map again as PNG, "
            f"because converting this file does not bring them back"
        )


def _has_lossy_frame(webp: bytes) -> bool:
    """Whether a WebP file has a chunk of lossy pixels, in itself or in a frame of an animation."""
    start = 12
    while start + 8 <= len(webp):
        name, size = webp[start : start + 4], int.from_bytes(webp[start + 4 : start + 8], "little")
        if name in (b"VP8 ", b"ANMF"):
            return True
        start += 8 + size + size % 2
    return False


def _read(
    image: Image.Image, path: str | os.PathLike[str], num_classes: int, table: ColorTable | None
) -> tuple[np.ndarray, Mapping[int, Color]]:
    if table is not None and image.mode in ("P", "RGB", "RGBA", "LA", "PA"):
        return _read_painted(image, path, table), {}
    if image.mode not in ("1", "L", "P"):
        colored = "; a folder of color masks needs label_colors.txt, a class name and a color per line"
        raise UserError(
            f"{path} has pixels of mode {image.mode}; label maps need one channel of 8 bits (gray or palette)"
            + (colored if image.mode in ("RGB", "RGBA") and table is None else "")
        )
    labels = np.array(image, np.uint8)
    if image.mode == "P":
        return _read_indices(labels, image, num_classes)
    return (labels if table is None else _read_gray(labels, image, path, table)), {}


def _read_painted(image: Image.Image, path: str | os.PathLike[str], table: ColorTable) -> np.ndarray:
    """Classes by color; transparent pixels are background, unless all are transparent."""
    if not image.has_transparency_data:
        return read_colors(np.array(image.convert("RGB")), table, path)
    rgba = np.array(image.convert("RGBA"))
    alpha = rgba[..., 3]
    mixed = (alpha > 0) & (alpha < 255)
    if mixed.any():
        y, x = np.unravel_index(np.argmax(mixed), mixed.shape)
        raise UserError(f"{path} is partly transparent at x={x}, y={y}; paint label maps with solid colors")
    painted = alpha > 0 if alpha.any() else np.full(alpha.shape, True)
    rgba[~painted, :3] = next(iter(table.classes))
    return np.where(painted, read_colors(rgba[..., :3], table, path), np.uint8(0))


def _read_gray(labels: np.ndarray, image: Image.Image, path: str | os.PathLike[str], table: ColorTable) -> np.ndarray:
    """Class numbers, or colors if each gray value is a color of the table or the numbers of its lines are not kept."""
    shown = labels * np.uint8(255) if image.mode == "1" else labels
    are_colors = all((value, value, value) in table.classes for value in np.unique(shown).tolist())
    if are_colors or not table.in_order:
        return read_colors(np.repeat(shown[..., None], 3, axis=-1), table, path)
    return labels


def _read_indices(labels: np.ndarray, image: Image.Image, num_classes: int) -> tuple[np.ndarray, Mapping[int, Color]]:
    colors = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    gray = colors[:, 0]
    if len(used) == len(colors) and _stands_for_gray(colors, num_classes):
        return np.concatenate([gray, np.zeros(256 - len(gray), np.uint8)])[labels], {}
    palette = {index: tuple(colors[index].tolist()) for index in used.tolist() if index < len(colors)}
    return labels, palette


def _stands_for_gray(colors: np.ndarray, num_classes: int) -> bool:
    """Whether a palette was made from the gray values of class numbers: distinct ones, and not in their places."""
    gray = colors[:, 0]
    numbers = gray[gray != IGNORE_ID]
    return bool(
        (colors == gray[:, None]).all()
        and len(np.unique(gray)) == len(gray)
        and (numbers < num_classes).all()
        and (gray != np.arange(len(gray)))[gray != IGNORE_ID].any()
    )
