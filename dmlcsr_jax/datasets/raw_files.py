"""Finds, reads and checks the files of raw data. Every problem is a UserError that names the file."""

import hashlib
import pathlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from dmlcsr_jax.datasets import images
from dmlcsr_jax.datasets.raw import Example
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError

_STORED_UNCHANGED = {".jpg", ".jpeg", ".png"}
_JPEG_QUALITY = 95  # of resized images


class Pair(NamedTuple):
    """An image file, the file of its label map, and their name within the split."""

    image: pathlib.Path
    labels: pathlib.Path
    name: str


def read_pair(pair: Pair, spec: FaceSpec, *, resize: bool) -> Example:
    """The example of a pair; see `make_example`. UserError if one of its files is missing."""
    if not pair.labels.exists():
        raise UserError(f"{pair.image} has no label map; add {pair.labels} or remove it")
    if not pair.image.exists():
        raise UserError(f"{pair.labels} has no image; add it to {pair.image.parent} or remove the label map")
    labels = read_labels(pair.labels)
    return make_example(pair.name, pair.image, labels=labels, label_path=pair.labels, spec=spec, resize=resize)


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
    return images.decode_label(read_bytes(path), path)


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
    digest = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9-]', '_', root.resolve().name)}_{digest}"


def make_example(
    name: str, image_path: pathlib.Path, *, labels: np.ndarray, label_path: pathlib.Path, spec: FaceSpec, resize: bool
) -> Example:
    """Makes an example and checks it.

    Args:
      name: the name of the example.
      image_path: the image file; stored unchanged if it is a JPEG or PNG file of the labels' size.
      labels: [H, W] uint8.
      label_path: the file to name if the labels are invalid.
      spec: the classes.
      resize: whether an image of another size but the same aspect ratio is resized to the labels' size.

    Raises:
      UserError: the image cannot be read, its size does not match the labels, or a label is not a class.
    """
    data = read_bytes(image_path)
    image = images.decode_image(data, image_path)
    _check_values(labels, label_path, spec)
    if labels.shape != image.shape[:2]:
        if not resize or not _same_aspect(labels.shape, image.shape):
            sizes = f"{size_text(labels)} but {image_path.name} is {size_text(image)}"
            wanted = "aspect ratio" if resize else "size"
            raise UserError(f"{label_path} is {sizes}; they must have the same {wanted}")
        data = _resized_jpeg(image, labels.shape)
    elif image_path.suffix.lower() not in _STORED_UNCHANGED:
        data = images.encode_image(image)
    return Example(image=data, labels=labels, name=name)


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
