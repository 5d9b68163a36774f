"""Finds, reads and checks the files of raw data. Every problem is a UserError that names the file."""

import dataclasses
import glob
import hashlib
import os
import pathlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from dmlcsr_jax.datasets import images
from dmlcsr_jax.datasets.label_checks import is_interpolated, palettes_of
from dmlcsr_jax.datasets.label_colors import ColorTable
from dmlcsr_jax.datasets.label_files import lossy_format, read_label_map
from dmlcsr_jax.datasets.raw import Example
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import printable

_STORED_UNCHANGED = {".jpg", ".jpeg", ".png"}
_JPEG_QUALITY = 95  # of resized images

# What may be wrong with files, as `Example.warnings` has it.
_INTERPOLATED = (
    "label maps look resized with smoothing, which writes wrong class numbers along borders; resize the originals by "
    "nearest neighbor"
)
_TURNED = (
    "images are turned or mirrored by their EXIF orientation beside a label map of the same size, which may have been "
    "drawn either way; look at one, and set config.dataset.exif to apply or ignore"
)
_SHALLOW = (
    "images do not say how many of their bits per sample are used, and were read as 8, 10, 12 or 14 bits, the fewest "
    "that hold their values"
)


class Pair(NamedTuple):
    """An image file, the file of its label map, and their name within the split."""

    image: pathlib.Path
    labels: pathlib.Path
    name: str


def read_pair(pair: Pair, spec: FaceSpec, *, resize: bool, table: ColorTable | None = None, exif: str = "") -> Example:
    """The example of a pair; see `make_example`.

    Args:
      pair: the files.
      spec: the classes.
      resize: as for `make_example`.
      table: the class numbers of colors, if label maps may be painted with them.
      exif: as for `make_example`.

    Raises:
      UserError: a file is missing or invalid.
    """
    if not pair.labels.exists():
        raise UserError(f"{pair.image} has no label map; {_advise(pair.labels)}")
    if not pair.image.exists():
        raise UserError(f"{pair.labels} has no image; add it to {pair.image.parent} or remove the label map")
    data = read_bytes(pair.labels)
    label = read_label_map(data, pair.labels, num_classes=spec.num_classes, table=table, exif=exif != "ignore")
    example = make_example(
        pair.name,
        pair.image,
        labels=label.labels,
        label_path=pair.labels,
        spec=spec,
        resize=resize,
        exif=exif,
        label_orientation=label.orientation,
    )
    warnings = dict(example.warnings) | ({_INTERPOLATED: str(pair.labels)} if is_interpolated(label.labels) else {})
    return dataclasses.replace(example, warnings=warnings, palettes=palettes_of(label.palette, str(pair.labels)))


def _advise(labels: pathlib.Path) -> str:
    """What to do about a missing label map."""
    for other in labels.parent.glob(f"{glob.escape(labels.stem)}.*"):
        if kind := lossy_format(other.suffix):
            return f"{other} will not do, because {kind} changes class numbers; export it as {labels.name}"
    return f"add {labels} or remove it"


def read_optional(path: pathlib.Path) -> bytes | None:
    """The contents of a file; None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable or remove it") from error


def read_bytes(path: pathlib.Path) -> bytes:
    """The contents of a file; UserError if it does not exist."""
    data = read_optional(path)
    if data is None:
        raise UserError(f"{path} is missing; add it")
    return data


def read_labels(path: pathlib.Path) -> np.ndarray:
    """[H, W] uint8 class numbers of a label map file."""
    return read_label_map(read_bytes(path), path).labels


def read_lines(path: pathlib.Path, meaning: str) -> list[str]:
    """The stripped lines of a text file, without empty ones at its end; `meaning` says in errors what it contains."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; it should have {meaning}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})") from error


def require_folders(root: pathlib.Path, *names: str) -> None:
    """UserError unless `config.dataset.path` is a folder with these folders in it."""
    for folder in (root, *(root / name for name in names)):
        if not folder.is_dir():
            wanted = ", ".join(names)
            raise UserError(f"config.dataset.path: {folder} is not a folder; {root} should contain {wanted}")


def variant_key(root: pathlib.Path, contents: Iterable[str]) -> str:
    """The name of the root folder and a hash of everything that determines the prepared data."""
    digest = hashlib.sha256(os.fsencode("\n".join(contents))).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9-]', '_', root.resolve().name)}_{digest}"


def make_example(
    name: str,
    image_path: pathlib.Path,
    *,
    labels: np.ndarray,
    label_path: pathlib.Path,
    spec: FaceSpec,
    resize: bool,
    exif: str = "",
    label_orientation: int = 1,
) -> Example:
    """Makes an example and checks it.

    Args:
      name: the name of the example.
      image_path: the image file; stored unchanged if it is a JPEG or PNG file of the labels' size.
      labels: [H, W] uint8.
      label_path: the file to name if the labels are invalid.
      spec: the classes.
      resize: whether an image of another size but the same aspect ratio is resized to the labels' size.
      exif: "apply" or "ignore" the EXIF orientation of the image; "" applies it, and warns if that may be wrong.
      label_orientation: the EXIF orientation of the label map, which is applied already.

    Raises:
      UserError: the image cannot be read, its size does not match the labels, or a label is not a class.
    """
    data = read_bytes(image_path)
    decoded = images.decode(data, image_path, exif=exif != "ignore")
    image, is_turned = decoded.pixels, decoded.orientation != 1
    _check_values(labels, label_path, spec)
    if labels.shape != image.shape[:2]:
        if not resize or not _same_aspect(labels.shape, image.shape):
            raise UserError(_size_problem(labels, label_path, decoded, image_path, exif=exif, resize=resize))
        data = _resized_jpeg(image, labels.shape)
    elif image_path.suffix.lower() not in _STORED_UNCHANGED or decoded.deep or (is_turned and exif == "ignore"):
        data = images.encode_image(image)
    warnings = {_SHALLOW: str(image_path)} if decoded.note else {}
    keeps_size = decoded.orientation < 5 or image.shape[0] == image.shape[1]
    if is_turned and keeps_size and not exif and label_orientation == 1:
        warnings[_TURNED] = str(image_path)
    return Example(image=data, labels=labels, name=printable(name), warnings=warnings)


def _size_problem(
    labels: np.ndarray,
    label_path: pathlib.Path,
    decoded: images.Decoded,
    image_path: pathlib.Path,
    *,
    exif: str,
    resize: bool,
) -> str:
    image, wanted = decoded.pixels, "aspect ratio" if resize else "size"
    after, way_out = "", ""
    if decoded.orientation != 1 and exif != "ignore":
        after = " (after its EXIF orientation)"
        if labels.shape == image.shape[1::-1]:
            way_out = ", or set config.dataset.exif=ignore if label maps were drawn on the images as they are stored"
    sizes = f"{size_text(labels)} but {image_path.name} is {size_text(image)}{after}"
    return f"{label_path} is {sizes}; they must have the same {wanted}{way_out}"


def size_text(image: np.ndarray) -> str:
    """The size of [H, W, ...] for messages: "WIDTHxHEIGHT"."""
    return f"{image.shape[1]}x{image.shape[0]}"


def _check_values(labels: np.ndarray, path: pathlib.Path, spec: FaceSpec) -> None:
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    outside = [int(value) for value in values if value >= spec.num_classes and value != spec.ignore_id]
    if outside:
        raise UserError(
            f"{path} has value {outside[0]}; {spec.num_classes} classes allow 0 to {spec.num_classes - 1}, "
            f"and {spec.ignore_id}"
        )


def _same_aspect(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) have the same aspect ratio, to within a pixel."""
    (height, width), (other_height, other_width) = first[:2], second[:2]
    return abs(width * other_height - other_width * height) <= max(height, width, other_height, other_width)


def _resized_jpeg(image: np.ndarray, size: tuple[int, ...]) -> bytes:
    """Resizes [H, W, 3] uint8 RGB to (height, width) and encodes it as JPEG; averages if that is smaller."""
    smaller = size[0] < image.shape[0]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return images.encode_jpeg(cv2.resize(image, size[::-1], interpolation=interpolation), _JPEG_QUALITY)
