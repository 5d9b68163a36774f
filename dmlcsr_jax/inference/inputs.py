"""Finds the input files that a command line names, and the names of their results."""

import collections
import glob
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dmlcsr_jax.datasets.formats import describe_endings, image_suffixes
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.output_names import unique_names
from dmlcsr_jax.paths import local_path

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


class Listing(NamedTuple):
    """The inputs of a command line.

    Attributes:
      files: (name of its results, file) of each.
      left_out: how many files of the named folders are neither images nor videos, by ending.
    """

    files: list[tuple[str, pathlib.Path]]
    left_out: collections.Counter[str]


class _Found(NamedTuple):
    path: pathlib.Path
    below: pathlib.PurePath  # the path below the named folder, or the file's own name


def is_video(path: pathlib.Path) -> bool:
    """Whether the suffix of a file is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def list_inputs(paths: Sequence[str], output: pathlib.Path | None = None) -> Listing:
    """Lists the files to parse, each path once, with a unique name for its results (see `unique_names`).

    A name is the path below the named folder, or below the part of a pattern that has no wildcards, else the file's own
    name; without its ending if that is unique.

    Args:
      paths: files, folders (all images and videos in them and in their subfolders, but no hidden ones), and glob
        patterns (all matching files).
      output: the folder of results, which is not read if it lies in a named folder.

    Raises:
      UserError: a path does not exist or is not local, a folder has no images or videos, or a pattern matches no file.
    """
    left_out: collections.Counter[str] = collections.Counter()
    found: dict[str, _Found] = {}
    for path in paths:
        local_path(path, "", "copy it to a local file or folder")
        for one in _find_files(path, output, left_out):
            found.setdefault(_identity(one.path), one)
    files = [one.path for one in found.values()]
    names = unique_names([one.below for one in found.values()], [is_video(file) for file in files])
    return Listing(list(zip(names, files, strict=True)), left_out)


def _find_files(path: str, output: pathlib.Path | None, left_out: collections.Counter[str]) -> list[_Found]:
    if os.path.isdir(path):
        found, others = [], collections.Counter()
        for one in _walk(pathlib.Path(path), output):
            suffix = one.path.suffix.lower()
            if suffix in image_suffixes() or suffix in VIDEO_SUFFIXES:
                found.append(one)
            else:
                others[suffix] += 1
        if not found:
            only = f", only {describe_endings(others)}" if others else ""
            raise UserError(f"{path} has no images or videos{only}; name files or folders of them")
        left_out.update(others)
        return found
    if os.path.exists(path):
        return [_Found(pathlib.Path(path), pathlib.PurePath(pathlib.Path(path).name))]
    return _match_pattern(path)


def _match_pattern(pattern: str) -> list[_Found]:
    root = pathlib.Path(pattern)
    while root != root.parent and glob.has_magic(str(root)):
        root = root.parent
    matches = map(pathlib.Path, sorted(glob.glob(pattern, recursive=True)))
    found = [_Found(file, _below(file, root)) for file in matches if file.is_file()]
    if not found:
        raise UserError(f"{pattern} does not exist; name images, videos, folders of them or patterns such as 'a/*.jpg'")
    return found


def _below(file: pathlib.Path, root: pathlib.Path) -> pathlib.PurePath:
    below = file.relative_to(root)
    return pathlib.PurePath(file.name) if ".." in below.parts else below


def _walk(root: pathlib.Path, output: pathlib.Path | None) -> Iterator[_Found]:
    """The files of a folder and its subfolders, in the order of their paths; hidden ones and `output` are none of it.

    Links to folders are followed, but not into a folder that contains them.
    """
    own_output = output.resolve() if output else None
    waiting = [(root, pathlib.PurePath(), frozenset({root.resolve()}))]
    while waiting:
        folder, below, around = waiting.pop()
        folders = []
        for entry in _entries(folder):
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if not entry.is_dir():
                yield _Found(path, below / entry.name)
            elif (real := path.resolve()) not in around and real != own_output:
                folders.append((path, below / entry.name, around | {real}))
        waiting.extend(reversed(folders))


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}); name a folder that can") from error


def _identity(path: pathlib.Path) -> str:
    """The same for two spellings of one path; a link and its target are two."""
    absolute = os.path.abspath(path)
    if ".." in path.parts and not (os.path.exists(absolute) and os.path.samefile(absolute, path)):
        return str(path.parent.resolve() / path.name)  # the folder before ".." is a link
    return absolute
