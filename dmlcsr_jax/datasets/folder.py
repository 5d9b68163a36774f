"""A user's own faces: `ROOT/{train,val,test}/{images,labels}`, `ROOT/label_names.txt`, `ROOT/flip_pairs.txt`.

Images are JPEG, PNG, BMP, WebP or TIFF files. The label map of an image is the PNG file of the same stem and the same
size, with one channel of class numbers (gray values or palette indices), 255 for unknown pixels, or painted with the
colors of `label_colors.txt`. `val` and `test` are optional. `label_names.txt` has one class name per line, background
first; `class_files` reads other lists, too. `flip_pairs.txt` has two class names per line
that are swapped when an image is mirrored; without that file, `l_x` and `r_x`, or `left_x` and `right_x`, form a pair
if both are class names.
"""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from dmlcsr_jax.datasets import class_files, raw_files
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.errors import UserError


class Folder(RawDataset[raw_files.Pair]):
    """The data set in a folder. Preparation checks every file.

    It is prepared again when the class names, or a file's name, size or modification time, have changed.

    Args:
      root: the folder.

    Raises:
      UserError: a folder or list is missing or invalid.
    """

    key_follows_files = True

    def __init__(self, root: str | os.PathLike[str]):
        path = pathlib.Path(root).expanduser()
        classes = read_class_list(path)
        self.spec = class_files.create_spec(classes, _flip_pairs(path / "flip_pairs.txt", classes.names))
        self.notes = (classes.note,) if classes.note else ()
        self._colors = classes.colors
        self._pairs = raw_files.find_pairs(path)
        contents = (*self.spec.class_names, *classes.color_lines, *_file_states(path, self._pairs))
        self.key = raw_files.variant_key(path, contents)

    def items(self, split: str) -> Sequence[raw_files.Pair]:
        """The images of a split and their label maps."""
        return self._pairs.get(split, ())

    def example(self, item: raw_files.Pair) -> Example:
        """An image and its labels."""
        return raw_files.read_pair(item, self.spec, resize=False, table=self._colors, exif=self.exif)


def read_class_list(root: pathlib.Path) -> class_files.ClassList:
    """The classes of a folder; see `class_files.read_classes`.

    Raises:
      UserError: the folder or its list is missing or invalid.
    """
    if not root.is_dir() or not any(root.iterdir()):
        state = "is empty" if root.is_dir() else "is not a folder"
        raise UserError(f"config.dataset.path: {root} {state}; it needs train/images, train/labels and label_names.txt")
    if not (root / "train").is_dir():
        raise UserError(f"{root} has no folder train; put images into train/images and label maps into train/labels")
    return class_files.read_classes(root)


def _flip_pairs(path: pathlib.Path, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if not path.exists():
        sides = (("l_", "r_"), ("left_", "right_"))
        candidates = [(n, right + n.removeprefix(left)) for left, right in sides for n in names if n.startswith(left)]
        return tuple(pair for pair in candidates if pair[1] in names)
    pairs, used = [], set()
    for number, line in enumerate(raw_files.read_lines(path, "two class names per line"), 1):
        pair = tuple(name.strip() for name in (line.split(",") if "," in line else line.split()))
        if len(pair) != 2 or pair[0] == pair[1]:
            raise UserError(f"{path}: line {number} is {line!r}; write two different class names")
        for name in pair:
            if name not in names:
                raise UserError(f"{path}: line {number} names {name!r}, not in label_names.txt; use one of those")
            if name in used:
                raise UserError(f"{path}: line {number} names {name!r} again; a class can be in one pair only")
        used.update(pair)
        pairs.append(pair)
    return tuple(pairs)


def _file_states(root: pathlib.Path, pairs: Mapping[str, Sequence[raw_files.Pair]]) -> Iterator[str]:
    """One text per file that changes when its contents do."""
    for path in (path for some in pairs.values() for pair in some for path in pair):
        status = path.stat() if path.exists() else None
        yield f"{path.relative_to(root)}\0{status and (status.st_size, status.st_mtime_ns)}"
