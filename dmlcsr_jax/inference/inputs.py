"""The files that a command line means, and the names that their results get."""

import collections
import glob
import pathlib
from collections.abc import Sequence

from dmlcsr_jax.errors import UserError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


def is_video(path: pathlib.Path) -> bool:
    """Whether a file's name says that it is a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def list_inputs(paths: Sequence[str]) -> list[tuple[str, pathlib.Path]]:
    """Names to write under, and files: of a folder all its pictures and videos, of a pattern all that fit.

    A name is the file's stem; where several have it the file's whole name, or else its whole path. A file that is
    named twice is taken once.

    Raises:
      UserError: a path does not exist, or a folder or pattern has nothing in it.
    """
    files = list({file.resolve(): file for path in paths for file in _files(path)}.items())
    forms = [[r.stem for r, _ in files], [r.name for r, _ in files], ["_".join(r.parts[1:]) for r, _ in files]]
    counts = [collections.Counter(form) for form in forms]
    return [
        (next(form[i] for form, count in zip(forms, counts, strict=True) if count[form[i]] == 1), file)
        for i, (_, file) in enumerate(files)
    ]


def _files(path: str) -> list[pathlib.Path]:
    if pathlib.Path(path).is_dir():
        known = PICTURE_SUFFIXES + VIDEO_SUFFIXES
        found = sorted(file for file in pathlib.Path(path).iterdir() if file.suffix.lower() in known)
        if not found:
            raise UserError(f"{path} has no pictures or videos ({', '.join(known)})")
        return found
    if pathlib.Path(path).exists():
        return [pathlib.Path(path)]
    found = [pathlib.Path(match) for match in sorted(glob.glob(path, recursive=True))]
    if not any(file.is_file() for file in found):
        raise UserError(f"{path} does not exist; name pictures, videos, folders of them or patterns such as 'a/*.jpg'")
    return [file for file in found if file.is_file()]
