"""A user's own faces: `ROOT/{train,val,test}/{images,labels}`, `ROOT/label_names.txt`, `ROOT/flip_pairs.txt`.

Pictures are JPEG, PNG, BMP, WebP or TIFF files; the label map of a picture is the PNG file of the same stem, of the
same size, one channel of class numbers (gray, or the indices of a palette), 255 where nothing is known. `val` and
`test` may be absent. `label_names.txt` has one class name a line, background first. `flip_pairs.txt` has two names a
line that change places when a picture is mirrored; without that file, `l_x` and `r_x`, or `left_x` and `right_x`, are a
pair where both are names.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from dmlcsr_jax.datasets import images, raw_files
from dmlcsr_jax.datasets.builder import SPLITS, FaceBuilder
from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.datasets.specs import CELEBAMASK_HQ, LAPA
from dmlcsr_jax.errors import UserError


class Folder(FaceBuilder):
    """The data set in a folder, checked file by file while it is prepared.

    It is prepared anew whenever a file's name, size or time or the class names have changed.

    Args:
      root: the folder.
      bad_files: see `FaceBuilder`.
      data_dir: likewise.
    """

    key_follows_files = True

    def __init__(self, root: str | os.PathLike, data_dir: str | os.PathLike = "", bad_files: str = "stop"):
        self._root = pathlib.Path(root).expanduser()
        spec = read_spec(self._root)
        folders = {split: self._root / split for split in SPLITS if (self._root / split).exists()}
        self._pairs = {
            split: raw_files.find_pairs(folder / "images", folder / "labels") for split, folder in folders.items()
        }
        key = raw_files.variant_key(self._root, (*spec.class_names, *_states(self._root, self._pairs)))
        super().__init__(spec, key=key, data_dir=data_dir, bad_files=bad_files)

    def items(self, split: str) -> Sequence[tuple[pathlib.Path, pathlib.Path]]:
        """The pictures of a split and their label maps."""
        return self._pairs.get(split, ())

    def example(self, item: tuple[pathlib.Path, pathlib.Path]) -> dict[str, Any]:
        """One picture and its labels."""
        picture, path = item
        raw_files.require_pair(picture, path)
        labels = images.decode_label(raw_files.read_bytes(path), path)
        return raw_files.make_example(picture.stem, picture, labels, path, self.spec, resize=False)


def read_spec(root: pathlib.Path) -> FaceSpec:
    """The classes of a folder, from its `label_names.txt` and `flip_pairs.txt`; UserError where they make no sense."""
    if not root.is_dir() or not any(root.iterdir()):
        state = "is empty" if root.is_dir() else "is not a folder"
        raise UserError(f"config.dataset.path: {root} {state}; it needs train/images, train/labels and label_names.txt")
    if not (root / "train").is_dir():
        raise UserError(f"{root} has no folder train; put pictures into train/images and label maps into train/labels")
    path = root / "label_names.txt"
    names = tuple(raw_files.read_lines(path, "one class name a line, background first"))
    for number, name in enumerate(names, 1):
        if not name:
            raise UserError(f"{path}: line {number} is empty; give one class name a line")
        if name in names[: number - 1]:
            raise UserError(f"{path}: line {number} repeats {name!r}; give every class a name of its own")
    if not 2 <= len(names) <= IGNORE_ID:
        raise UserError(f"{path} names {len(names)} classes; give 2 to {IGNORE_ID}, background first")
    groups = next((spec.score_groups for spec in (CELEBAMASK_HQ, LAPA) if spec.class_names == names), {})
    return FaceSpec(name="folder", class_names=names, flip_pairs=_flip_pairs(root, names), score_groups=groups)


def _flip_pairs(root: pathlib.Path, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    path = root / "flip_pairs.txt"
    if not path.exists():
        sides = (("l_", "r_"), ("left_", "right_"))
        candidates = [(n, right + n.removeprefix(left)) for left, right in sides for n in names if n.startswith(left)]
        return tuple(pair for pair in candidates if pair[1] in names)
    pairs, used = [], set()
    for number, line in enumerate(raw_files.read_lines(path, "two class names a line"), 1):
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


def _states(root: pathlib.Path, pairs: dict[str, list]) -> Iterator[str]:
    """A text for every file that changes with its contents."""
    for path in (path for some in pairs.values() for pair in some for path in pair):
        status = path.stat() if path.exists() else None
        yield f"{path.relative_to(root)}\0{status and (status.st_size, status.st_mtime_ns)}"
