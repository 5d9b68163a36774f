"""Finding, reading and checking the files that data sets are made from; every mistake is a UserError that names one."""

import hashlib
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from dmlcsr_jax.datasets import images
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError

STORED_AS_THEY_ARE = {".jpg", ".jpeg", ".png"}
PICTURES = STORED_AS_THEY_ARE | {".bmp", ".webp", ".tif", ".tiff"}
_JPEG_QUALITY = 95  # of pictures that had to be resized


def find_files(folder: pathlib.Path, suffixes: set[str]) -> dict[str, pathlib.Path]:
    """Stem -> file, in order, of the files in a folder that end in one of the suffixes."""
    files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in files:
                raise UserError(f"{path} and {files[path.stem].name} have the same stem; rename or remove one")
            files[path.stem] = path
    if not files:
        raise UserError(f"{folder} holds no {'/'.join(sorted(suffixes))} files; add some or remove {folder.parent}")
    return files


def find_pairs(pictures: pathlib.Path, labels: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Pictures in a folder and the label maps (PNG) of the same stems in another, also where one of them is missing."""
    found, found_labels = find_files(pictures, PICTURES), find_files(labels, {".png"})
    return [
        (found.get(stem, pictures / f"{stem}.jpg"), found_labels.get(stem, labels / f"{stem}.png"))
        for stem in sorted(found | found_labels)
    ]


def require_pair(picture: pathlib.Path, label: pathlib.Path) -> None:
    """Raises where one of a pair from `find_pairs` is missing."""
    if not label.exists():
        raise UserError(f"{picture} has no label map; add {label} or remove it")
    if not picture.exists():
        raise UserError(f"{label} has no picture; add it to {picture.parent} or remove the label map")


def read_bytes(path: pathlib.Path) -> bytes:
    """A file's contents."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; add it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable or remove it") from error


def read_lines(path: pathlib.Path, meaning: str) -> list[str]:
    """The stripped lines of a text file, empty ones at its end left out; `meaning` is what each of them should be."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; it should have {meaning}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})") from error


def require_folders(root: pathlib.Path, *names: str) -> None:
    """Raises where `config.dataset.path` is not a folder that holds these."""
    for folder in (root, *(root / name for name in names)):
        if not folder.is_dir():
            wanted = ", ".join(names)
            raise UserError(f"config.dataset.path: {folder} is not a folder; {root} should hold {wanted}")


def variant_key(root: pathlib.Path, contents: Iterable[str]) -> str:
    """The root folder's name and a hash of all that the prepared data comes from."""
    digest = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9-]', '_', root.resolve().name)}_{digest}"


def make_example(
    name: str, picture: pathlib.Path, labels: np.ndarray, label_path: pathlib.Path, spec: FaceSpec, *, resize: bool
) -> dict[str, Any]:
    """One example as `FaceBuilder` wants it, checked.

    Args:
      name: the example's.
      picture: the file of the picture; stored as it is if it is a JPEG or PNG file of the labels' size.
      labels: [H, W] uint8.
      label_path: the file to name where the labels are wrong.
      spec: the classes that may occur.
      resize: whether a picture of another size but the labels' shape is brought to the labels' size.

    Raises:
      UserError: the picture cannot be read, its shape is not that of the labels, or a label is no class.
    """
    data = read_bytes(picture)
    image = images.decode_image(data, picture)
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    outside = [int(value) for value in values if value >= spec.num_classes and value != spec.ignore_id]
    if outside:
        raise UserError(
            f"{label_path} has value {outside[0]}; {spec.num_classes} classes allow 0 to {spec.num_classes - 1}, "
            f"and {spec.ignore_id}"
        )
    if labels.shape != image.shape[:2]:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (labels.shape, image.shape)]
        if not resize or not _same_shape(labels.shape, image.shape):
            wish = "shape" if resize else "size"
            raise UserError(
                f"{label_path} is {sizes[0]} but {picture.name} is {sizes[1]}; they must have the same {wish}"
            )
        data = _resized_jpeg(image, labels.shape)
    elif picture.suffix.lower() not in STORED_AS_THEY_ARE:
        data = images.encode_image(image)
    return {"image": data, "label": labels, "name": name}


def _same_shape(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) have one aspect ratio, to a pixel."""
    (height, width), (other_height, other_width) = first[:2], second[:2]
    return abs(width * other_height - other_width * height) <= max(height, width, other_height, other_width)


def _resized_jpeg(image: np.ndarray, size: tuple[int, int]) -> bytes:
    """JPEG of [H, W, 3] uint8 RGB at a size (height, width), shrunk by averaging."""
    smaller = size[0] < image.shape[0]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return images.encode_jpeg(cv2.resize(image, size[::-1], interpolation=interpolation), _JPEG_QUALITY)
