"""A user's own faces: `ROOT/{train,val,test}/{images,labels}`, `ROOT/label_names.txt`, `ROOT/flip_pairs.txt`.

Images are JPEG, PNG, BMP, WebP or TIFF files, in folders of any depth. The label map of an image is the PNG file of the
same path within `labels` and the same size, with one channel of class numbers (gray values or palette indices), 255 for
unknown pixels, or painted with the colors of `label_colors.txt`. `layout.py` has other names for the folders. One split
is enough to evaluate; without `val`, a share of `train` can be set aside.

`label_names.txt` has one class name per line, background first; `class_files.py` reads other lists, too.
`flip_pairs.txt` has two class names per line that are swapped when an image is mirrored; without that file, `sides.py`
finds them by name.
"""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from dmlcsr_jax.datasets import class_files, layout, raw_files, sides
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import check_range


class Folder(RawDataset[raw_files.Pair]):
    """The data set in a folder. Preparation checks every file.

    It is prepared again when the class names, or a file's name, size or modification time, have changed.

    Args:
      root: the folder.
      val_share: the share of `train` that becomes `val` if there is no such folder; at least 0, below 1.

    Raises:
      FieldError: `val_share` is out of range.
      UserError: a folder or list is missing or invalid.
    """

    key_follows_files = True

    def __init__(self, root: str | os.PathLike[str], *, val_share: float = 0.0):
        check_range("val_share", val_share, at_least=0, below=1)
        path = pathlib.Path(root).expanduser()
        classes = read_class_list(path)
        self.spec = class_files.create_spec(classes, _flip_pairs(path / "flip_pairs.txt", classes.names))
        self.mirror_warnings = check_flip_pairs(path, self.spec)
        self._colors = classes.colors
        found = layout.find_layout(path)
        self._pairs, self.warnings = dict(found.pairs), found.unread
        contents = (*self.spec.class_names, *classes.color_lines, *_file_states(path, self._pairs))
        options, notes = self._make_val(val_share)
        self.notes = tuple(filter(None, (classes.note, *notes)))
        self.state = raw_files.variant_key(path, contents)
        self.key = raw_files.variant_key(path, (*contents, *options))

    def _make_val(self, share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sets aside a share of `train`, if that is asked for and possible; what that adds to the key and the notes."""
        if not share or "train" not in self._pairs:
            return (), ()
        if "val" in self._pairs:
            return (), (f"val is a folder, so config.dataset.folder.val_share={share:g} changes nothing",)
        pairs = self._pairs["train"]
        self._pairs["train"], self._pairs["val"] = layout.set_aside(pairs, share)
        note = (
            f"val: {len(self._pairs['val'])} of the {len(pairs)} images of train, set aside by "
            f"config.dataset.folder.val_share={share:g}; the same ones on every run"
        )
        return (f"val_share {share!r}",), (note,)

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
    return class_files.read_classes(root)


def _flip_pairs(path: pathlib.Path, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if not path.exists():
        return sides.find_pairs(names)
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


def check_flip_pairs(root: pathlib.Path, spec: FaceSpec) -> tuple[str, ...]:
    """A line about classes that say left or right but keep their place in mirrored images; none if all change it."""
    if (root / "flip_pairs.txt").exists():
        listed = {name for pair in spec.flip_pairs for name in pair}
        missing = [pair for pair in sides.find_pairs(spec.class_names) if not listed & set(pair)]
        problem = "flip_pairs.txt lacks " + ", ".join(f"{left} and {right}" for left, right in missing)
    else:
        missing = sides.find_one_sided(spec.class_names, spec.flip_pairs)
        problem = f"left or right without a partner: {', '.join(missing)}"
    if not missing:
        return ()
    advice = "list pairs in flip_pairs.txt, or mirror no images with --config.input.flip_probability=0"
    return (f"{problem}; mirrored images keep these classes: {advice}",)


def _file_states(root: pathlib.Path, pairs: Mapping[str, Sequence[raw_files.Pair]]) -> Iterator[str]:
    """One text per file that changes when its contents do."""
    for path in (path for some in pairs.values() for pair in some for path in (pair.image, pair.labels)):
        status = path.stat() if path.exists() else None
        yield f"{path.relative_to(root)}\0{status and (status.st_size, status.st_mtime_ns)}"
