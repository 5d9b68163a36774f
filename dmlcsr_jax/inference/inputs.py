"""Finds the input files that a command line names, and the names of their results."""

import collections
import glob
import pathlib
from collections.abc import Sequence

from dmlcsr_jax.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


def is_video(path: pathlib.Path) -> bool:
    """Whether the suffix of a file is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def list_inputs(paths: Sequence[str]) -> list[tuple[str, pathlib.Path]]:
    """Lists the files to parse, each once, with a unique name for its results.

    The name is the file's stem. Files that share a stem get their whole file name instead, and files that share that
    too get their whole path.

    Args:
      paths: files, folders (all images and videos directly in them), and glob patterns (all matching files).

    Returns:
      (name, file) pairs.

    Raises:
      UserError: a path does not exist, a folder has no images or videos, or a pattern matches no file.
    """
    files = list({file.resolve(): file for path in paths for file in _find_files(path)}.items())
    forms = [[r.stem for r, _ in files], [r.name for r, _ in files], ["_".join(r.parts[1:]) for r, _ in files]]
    counts = [collections.Counter(form) for form in forms]
    return [
        (next(form[i] for form, count in zip(forms, counts, strict=True) if count[form[i]] == 1), file)
        for i, (_, file) in enumerate(files)
    ]


def _find_files(path: str) -> list[pathlib.Path]:
    if pathlib.Path(path).is_dir():
        known = IMAGE_SUFFIXES + VIDEO_SUFFIXES
        found = sorted(file for file in pathlib.Path(path).iterdir() if file.suffix.lower() in known)
        if not found:
            raise UserError(f"{path} has no images or videos ({', '.join(known)})")
        return found
    if pathlib.Path(path).exists():
        return [pathlib.Path(path)]
    found = [file for match in sorted(glob.glob(path, recursive=True)) if (file := pathlib.Path(match)).is_file()]
    if not found:
        raise UserError(f"{path} does not exist; name images, videos, folders of them or patterns such as 'a/*.jpg'")
    return found
