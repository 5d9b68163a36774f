"""Finds images and label maps in folders: `ROOT/SPLIT/images` and `ROOT/SPLIT/labels`, and any folders below these.

A split may be called otherwise (`valid`), and so may its label maps (`masks`), if no folder has the usual name. Names
that begin with a dot are no data.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NoReturn

from dmlcsr_jax.datasets.formats import describe_endings, image_suffixes
from dmlcsr_jax.datasets.raw_files import Pair
from dmlcsr_jax.errors import UserError

LABEL_SUFFIXES = frozenset({".png"})
# What folders may be called; the first is the usual name.
_SPLITS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}
_LABELS = ("labels", "masks", "annotations")
_SEED = b"0"  # of the hash that chooses what is set aside


@dataclasses.dataclass(frozen=True)
class Layout:
    """The files of a data set.

    Attributes:
      pairs: split -> its pairs, sorted by name, for the splits with label maps. One file of a pair may be missing; see
        `raw_files.read_pair`.
      unread: one line per folder, or kind of file, that is there but not read.
    """

    pairs: Mapping[str, list[Pair]]
    unread: tuple[str, ...]


def find_layout(root: pathlib.Path) -> Layout:
    """The splits in a folder.

    Raises:
      UserError: there is no split with images and label maps, a folder lacks files, or two files have one name.
    """
    pairs, unread = {}, []
    for split, names in _SPLITS.items():
        folder = _choose(root, names, unread)
        if folder and (labels := _choose(folder, _LABELS, unread)):
            pairs[split] = _find_pairs(folder / "images", labels, unread)
        elif folder:
            find_files(folder / "images", image_suffixes())
            unread.append(f"{folder} has images but no folder labels, so only predict reads it")
    if not pairs:
        without = f"; {unread[0]}" if unread else ""
        raise UserError(
            f"{root} has no folder train, val or test with label maps{without}; put images into train/images and "
            f"their label maps into train/labels"
        )
    return Layout(pairs, tuple(unread))


def find_images(root: pathlib.Path, split: str) -> dict[str, pathlib.Path]:
    """Name -> image of a split without label maps, or of a folder without splits; none if there are label maps.

    Raises:
      UserError: there are two folders for the split, or none of its files is an image.
    """
    folder = _choose(root, _SPLITS[split], [])
    if not folder and any((root / name).is_dir() for names in _SPLITS.values() for name in names):
        return {}
    folder = folder or root
    within = folder / "images"
    if not folder.is_dir() or any(path.parent.name in _LABELS for path in _walk(folder)):
        return {}
    return find_files(within if within.is_dir() else folder, image_suffixes())


def find_files(folder: pathlib.Path, suffixes: Set[str]) -> dict[str, pathlib.Path]:
    """Name -> file, sorted, for the files in a folder and those below it that have one of the suffixes.

    A name is the path within the folder, without the suffix.

    Raises:
      UserError: there is no such file, or two have the same name.
    """
    files: dict[str, pathlib.Path] = {}
    for path in _walk(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in suffixes:
            continue
        if name in files:
            raise UserError(f"{path} and {files[name].name} have the same stem; rename one")
        files[name] = path
    if not files:
        _refuse_without_files(folder, suffixes)
    return dict(sorted(files.items()))


def set_aside(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Divides pairs into those that stay and the share that is set aside, at least one of each.

    A hash of the name decides: the same ones are chosen on every run, and few others once there are more pairs.

    Raises:
      UserError: there is only one pair.
    """
    if len(pairs) < 2:
        raise UserError("config.dataset.folder.val_share needs at least two images in train")
    count = min(max(round(share * len(pairs)), 1), len(pairs) - 1)
    ranked = sorted(pairs, key=lambda pair: hashlib.sha256(_SEED + b":" + os.fsencode(pair.name)).digest())
    chosen = {pair.name for pair in ranked[:count]}
    return [p for p in pairs if p.name not in chosen], [p for p in pairs if p.name in chosen]


def _find_pairs(images: pathlib.Path, labels: pathlib.Path, unread: list[str]) -> list[Pair]:
    found, found_labels = find_files(images, image_suffixes()), find_files(labels, LABEL_SUFFIXES)
    for folder, suffixes in ((images, image_suffixes()), (labels, LABEL_SUFFIXES)):
        if others := _other_files(folder, suffixes):
            unread.append(f"{folder} has files that are not read: {others}")
    return [
        Pair(found.get(name, images / f"{name}.jpg"), found_labels.get(name, labels / f"{name}.png"), name)
        for name in sorted(found | found_labels)
    ]


def _choose(parent: pathlib.Path, names: Sequence[str], unread: list[str]) -> pathlib.Path | None:
    """The folder of the usual name, or the only one of another; adds to `unread` what is there besides."""
    there = [parent / name for name in names if (parent / name).is_dir()]
    if len(there) > 1 and there[0].name != names[0]:
        raise UserError(
            f"{parent} has {' and '.join(path.name for path in there)} but no {names[0]}; rename the one to read to "
            f"{names[0]}"
        )
    unread += [f"{path} is not read, because {there[0].name} is there" for path in there[1:]]
    return there[0] if there else None


def _other_files(folder: pathlib.Path, suffixes: Set[str]) -> str:
    """The other files below a folder, counted by ending."""
    endings = collections.Counter(path.suffix.lower() for path in _walk(folder))
    return describe_endings({ending: count for ending, count in endings.items() if ending not in suffixes})


def _refuse_without_files(folder: pathlib.Path, suffixes: Set[str]) -> NoReturn:
    others = _other_files(folder, suffixes)
    found = f", only {others}" if others else ""
    kind = "PNG" if suffixes == LABEL_SUFFIXES else "image"
    lossy = kind == "PNG" and re.search(r"\.jpe?g\b", others)
    advice = "JPEG changes class numbers, so write label maps as PNG" if lossy else "add some"
    raise UserError(f"{folder} has no {kind} files{found}; {advice}")


def _walk(folder: pathlib.Path, above: tuple[str, ...] = ()) -> Iterator[pathlib.Path]:
    """All files below a folder, those in linked folders too; neither hidden ones nor those in hidden folders."""
    real = os.path.realpath(folder)
    if any(f"{path}/".startswith(f"{real}/") for path in above):
        return  # a link to a folder that it is in
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}); make it readable") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = pathlib.Path(entry.path)
        if entry.is_dir():
            yield from _walk(path, (*above, real))
        else:
            yield path
