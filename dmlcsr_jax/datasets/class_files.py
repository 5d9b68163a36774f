"""The lists of classes in a user's folder: one of `label_names.txt`, `label_colors.txt`, CVAT's `labelmap.txt` and
labelme's `class_names.txt`.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from dmlcsr_jax.datasets import celebamask_hq, lapa
from dmlcsr_jax.datasets.label_colors import ColorLine, ColorTable, color_text, parse_colors
from dmlcsr_jax.datasets.raw_files import read_lines
from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.errors import UserError

NAMES, COLORS, CVAT, LABELME = "label_names.txt", "label_colors.txt", "labelmap.txt", "class_names.txt"
LISTS = (NAMES, COLORS, CVAT, LABELME)  # the first that is there is read

# labelme's name for pixels that are not counted; in a list it is no class and takes no number.
_IGNORED = "__ignore__"
_BACKGROUNDS = ("background", "_background_", "__background__")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassList:
    """The classes of a folder.

    Attributes:
      names: one name per class number, background first.
      colors: the class numbers of color masks (255 for `__ignore__`); None if no file lists colors.
      files: the files that are read, by name.
      unread: other lists in the folder.
    """

    names: tuple[str, ...]
    colors: ColorTable | None = None
    files: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def color_lines(self) -> list[str]:
        """One text per color, for the key of prepared data."""
        return [f"{color_text(c)} {number}" for c, number in self.colors.classes.items()] if self.colors else []

    @property
    def note(self) -> str:
        """What is read, for the summary; "" if there is only `label_names.txt`."""
        if self.files == (NAMES,) and not self.unread:
            return ""
        return f"classes: {' and '.join(self.files)}" + (f"; not read: {', '.join(self.unread)}" if self.unread else "")


def read_classes(root: pathlib.Path) -> ClassList:
    """The classes of a folder, from the first of `LISTS` that it has.

    Beside `label_names.txt`, which then has the numbers, `label_colors.txt` is read for the colors.

    Raises:
      UserError: there is no list, or it is invalid.
    """
    present = [name for name in LISTS if (root / name).exists()]
    if not present:
        wanted = f"it should have one class name per line, background first; {COLORS}, CVAT's {CVAT} or labelme's"
        raise UserError(f"{root / NAMES} is missing; {wanted} {LABELME} may take its place")
    first = present[0]
    read = (first, COLORS) if first == NAMES and COLORS in present else (first,)
    names = _read_names(root / first) if first in (NAMES, LABELME) else ()
    colors = None
    if read[-1] in (COLORS, CVAT):
        names, colors = _read_colors(root / read[-1], names)
    return ClassList(names=names, colors=colors, files=read, unread=tuple(n for n in present if n not in read))


def create_spec(classes: ClassList, flip_pairs: Iterable[tuple[str, str]]) -> FaceSpec:
    """The spec of a folder. Exactly the class names of a known data set get its colors and score groups."""
    pairs = tuple(flip_pairs)
    by_number = {number: color for color, number in classes.colors.classes.items()} if classes.colors else {}
    palette = tuple(by_number[number] for number in range(len(classes.names))) if by_number else ()
    known = next((spec for spec in (celebamask_hq.SPEC, lapa.SPEC) if spec.class_names == classes.names), None)
    if known is None:
        return FaceSpec("folder", classes.names, flip_pairs=pairs, palette=palette)
    return dataclasses.replace(known, name="folder", flip_pairs=pairs, palette=palette or known.palette, terms="")


def _read_names(path: pathlib.Path) -> tuple[str, ...]:
    lines = read_lines(path, "one class name per line, background first")
    start = 1 if lines and lines[0] == _IGNORED else 0
    names = tuple(lines[start:])
    for number, name in enumerate(names):
        line = number + start + 1
        if not name:
            raise UserError(f"{path}: line {line} is empty; write one class name per line")
        if name in names[:number]:
            raise UserError(f"{path}: line {line} repeats {name!r}; give each class a unique name")
    _check_count(path, names)
    return names


def _read_colors(path: pathlib.Path, names: Sequence[str]) -> tuple[tuple[str, ...], ColorTable]:
    """The names and colors of a list of colors, in the order of `names` unless that is empty."""
    lines = parse_colors(read_lines(path, "a class name and a color per line, background first"), path)
    classes = [line for line in lines if line.name != _IGNORED]
    ordered = _in_order(path, classes, names) if names else _background_first(classes)
    numbers = {line.color: number for number, line in enumerate(ordered)}
    numbers |= {line.color: IGNORE_ID for line in lines if line.name == _IGNORED}
    found = tuple(line.name for line in ordered)
    _check_count(path, found)
    return found, ColorTable(classes=numbers, file=path.name, in_order=bool(names) or ordered == classes)


def _background_first(lines: Sequence[ColorLine]) -> list[ColorLine]:
    """CVAT lists the background where its user created it."""
    return sorted(lines, key=lambda line: line.name.lower() not in _BACKGROUNDS)


def _in_order(path: pathlib.Path, lines: Sequence[ColorLine], names: Sequence[str]) -> list[ColorLine]:
    by_name = {line.name: line for line in lines}
    for name in names:
        if name not in by_name:
            raise UserError(f"{path} has no line for {name!r} of {NAMES}; add its color, or remove {NAMES}")
    for name in by_name:
        if name not in names:
            raise UserError(f"{path} names {name!r}, not in {NAMES}; use one of those, or remove {NAMES}")
    return [by_name[name] for name in names]


def _check_count(path: pathlib.Path, names: Sequence[str]) -> None:
    if not 2 <= len(names) <= IGNORE_ID:
        raise UserError(f"{path} names {len(names)} classes; name 2 to {IGNORE_ID}, background first")
