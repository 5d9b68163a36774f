"""What engines keep between runs, below `environment.cache_directory()`."""

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterable

from dmlcsr_jax import environment
from dmlcsr_jax.paths import Path, files_below

_KEPT = 8  # files of each kind


def folder(kind: str) -> pathlib.Path | None:
    """The folder for one kind of file, made if need be; None if it cannot be written."""
    path = environment.cache_directory() / kind
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


def keep_newest(path: pathlib.Path) -> None:
    """Removes all but the newest files of a folder; another process may do so at the same time."""
    with contextlib.suppress(OSError):
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        for file in sorted(files, key=lambda file: -file.stat().st_mtime)[_KEPT:]:
            file.unlink(missing_ok=True)


def digest(parts: Iterable[bytes | str]) -> str:
    """A name for some content: parts in order, each with its length."""
    result = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        result.update(len(data).to_bytes(8, "little"))
        result.update(data)
    return result.hexdigest()[:32]


def file_parts(path: Path) -> Iterable[bytes | str]:
    """The content of a file, or of all files below a folder with their names, for `digest`."""
    for file in files_below(path) or [path]:
        yield file.relative_to(path).as_posix()
        yield file.read_bytes()
