"""A user's own faces: `ROOT/{train,val,test}/{images,labels}`, `ROOT/label_names.txt`, `ROOT/flip_pairs.txt`.

Pictures are JPEG, PNG, BMP, WebP or TIFF files; the label map of a picture is the PNG file of the same stem, of the
same size, one channel of class numbers (grey, or the indices of a palette), 255 where nothing is known. `val` and
`test` may be absent. `label_names.txt` has one class name a line, background first. `flip_pairs.txt` has two names a
line that change places when a picture is mirrored; without that file, `l_x` and `r_x`, or `left_x` and `right_x`, are a
pair where both are names.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from dmlcsr_jax.datasets import celebamask_hq, images, lapa
from dmlcsr_jax.datasets.builder import FaceBuilder, parallel_map
from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.errors import UserError

_SPLITS = ("train", "val", "test")
_STORED_AS_THEY_ARE = {".jpg", ".jpeg", ".png"}
_PICTURES = _STORED_AS_THEY_ARE | {".bmp", ".webp", ".tif", ".tiff"}


class Folder(FaceBuilder):
    """The data set in a folder, checked file by file while it is prepared.

    It is prepared anew whenever a file's name, size or time or the class names have changed.

    Args:
      root: the folder.
      data_dir: where prepared data lies, see `FaceBuilder`.
    """

    def __init__(self, root: str | os.PathLike, data_dir: str | os.PathLike = ""):
        self._root = pathlib.Path(root).expanduser()
        spec = read_spec(self._root)
        self._pairs = {split: _pairs(self._root / split) for split in _SPLITS if (self._root / split).exists()}
        super().__init__(spec, key=_fingerprint(self._root, spec, self._pairs), data_dir=data_dir)

    def split_sizes(self) -> dict[str, int]:
        """Name of a split -> number of its examples."""
        return {split: len(pairs) for split, pairs in self._pairs.items()}

    def examples(self, split: str) -> Iterator[dict]:
        """Reads and checks the examples of a split, all cores at once; UserError names the first bad file."""
        return parallel_map(lambda pair: _example(*pair, self.spec), self._pairs[split])


def read_spec(root: pathlib.Path) -> FaceSpec:
    """The classes of a folder, from its `label_names.txt` and `flip_pairs.txt`; UserError where they make no sense."""
    if not root.is_dir() or not any(root.iterdir()):
        state = "is empty" if root.is_dir() else "is not a folder"
        raise UserError(f"config.dataset.path: {root} {state}; it needs train/images, train/labels and label_names.txt")
    if not (root / "train").is_dir():
        raise UserError(f"{root} has no folder train; put pictures into train/images and label maps into train/labels")
    path = root / "label_names.txt"
    names = tuple(_lines(path))
    for number, name in enumerate(names, 1):
        if not name:
            raise UserError(f"{path}: line {number} is empty; give one class name a line")
        if name in names[: number - 1]:
            raise UserError(f"{path}: line {number} repeats {name!r}; give every class a name of its own")
    if not 2 <= len(names) <= IGNORE_ID:
        raise UserError(f"{path} names {len(names)} classes; give 2 to {IGNORE_ID}, background first")
    groups = next((spec.score_groups for spec in (celebamask_hq.SPEC, lapa.SPEC) if spec.class_names == names), {})
    return FaceSpec(name="folder", class_names=names, flip_pairs=_flip_pairs(root, names), score_groups=groups)


def _flip_pairs(root: pathlib.Path, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    path = root / "flip_pairs.txt"
    if not path.exists():
        sides = (("l_", "r_"), ("left_", "right_"))
        candidates = [(n, right + n.removeprefix(left)) for left, right in sides for n in names if n.startswith(left)]
        return tuple(pair for pair in candidates if pair[1] in names)
    pairs, used = [], set()
    for number, line in enumerate(_lines(path), 1):
        pair = tuple(name.strip() for name in (line.split(",") if "," in line else line.split()))
        if len(pair) != 2 or pair[0] == pair[1]:
            raise UserError(f"{path}: line {number} is {line!r}; give two different class names")
        for name in pair:
            if name not in names:
                raise UserError(f"{path}: line {number} names {name!r}, not in label_names.txt; take one of those")
            if name in used:
                raise UserError(f"{path}: line {number} names {name!r} a second time; a class is in one pair at most")
        used.update(pair)
        pairs.append(pair)
    return tuple(pairs)


def _lines(path: pathlib.Path) -> list[str]:
    """The stripped lines of a text file, empty ones at its end left out."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; write one class name a line into it, background first") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})") from error


def _pairs(split: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Pictures of a split and their label maps, by name; UserError where one has no partner."""
    pictures, labels = _files(split / "images", _PICTURES), _files(split / "labels", {".png"})
    for stem in sorted(pictures.keys() ^ labels.keys()):
        if stem in pictures:
            raise UserError(f"{pictures[stem]} has no label map; add {split / 'labels' / stem}.png or remove it")
        raise UserError(f"{labels[stem]} has no picture; add it to {split / 'images'} or remove the label map")
    return [(pictures[stem], labels[stem]) for stem in sorted(pictures)]


def _files(folder: pathlib.Path, suffixes: set[str]) -> dict[str, pathlib.Path]:
    """Stem -> file, of the files in a folder that end in one of the suffixes."""
    files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in files:
                raise UserError(f"{path} and {files[path.stem].name} have the same stem; rename or remove one")
            files[path.stem] = path
    if not files:
        raise UserError(f"{folder} holds no {'/'.join(sorted(suffixes))} files; add some or remove {folder.parent}")
    return files


def _fingerprint(root: pathlib.Path, spec: FaceSpec, splits: dict) -> str:
    """The folder's name and a hash of all that the prepared data comes from."""
    digest = hashlib.sha256("\n".join(spec.class_names).encode())
    for path in (path for pairs in splits.values() for pair in pairs for path in pair):
        status = path.stat()
        digest.update(f"{path.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return f"{re.sub(r'[^A-Za-z0-9-]', '_', root.resolve().name)}_{digest.hexdigest()[:16]}"


def _example(picture: pathlib.Path, label: pathlib.Path, spec: FaceSpec) -> dict:
    """One example as `FaceBuilder` wants it, or UserError that says what is wrong with the files."""
    data, label_data = _read(picture), _read(label)
    image, labels = images.decode_image(data, picture), images.decode_label(label_data, label)
    if labels.shape != image.shape[:2]:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (labels.shape, image.shape)]
        raise UserError(f"{label} is {sizes[0]} but {picture.name} is {sizes[1]}; they must have the same size")
    values = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    outside = [int(value) for value in values if value >= spec.num_classes and value != spec.ignore_id]
    if outside:
        raise UserError(
            f"{label} has value {outside[0]}; label_names.txt allows 0 to {spec.num_classes - 1}, and {spec.ignore_id}"
        )
    if picture.suffix.lower() not in _STORED_AS_THEY_ARE:
        data = images.encode_image(image)
    return {"image": data, "label": images.encode_label(labels), "name": picture.stem}


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable or remove it") from error
