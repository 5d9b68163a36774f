"""Local paths and gs://: which texts name them, and what object storage needs done differently.

A local path is a `pathlib.Path`, `gs://BUCKET/NAME` an `etils.epath.Path`, which has the same methods; `absolute`,
`rglob`, `walk` and appending to a file do not work there. In object storage a file appears when it is whole, a folder
exists as long as it has files, and there are no locks.
"""

import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from dmlcsr_jax.errors import UserError, first_line

if TYPE_CHECKING:
    from etils import epath

    Path: TypeAlias = pathlib.Path | epath.Path
else:
    Path = pathlib.Path  # parsing photos needs no etils

# pathlib makes "gs:/bucket" of "gs://bucket". A single letter is a drive of Windows.
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/")
_REMOTE = re.compile(r"gs://[^/\s]")
# The packages whose errors say that storage cannot be reached.
_CLIENTS = {"aiohttp", "fsspec", "gcsfs", "google", "requests", "tensorflow"}


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path lies in gs://."""
    return os.fspath(path).startswith("gs://")


def check_path(path: str | os.PathLike[str], name: str = "") -> None:
    """Refuses all but local paths and gs://BUCKET.

    Args:
      path: the path.
      name: the flag or field that it was given in, for the message.

    Raises:
      UserError: the path has another scheme, or names no bucket.
    """
    text = os.fspath(path)
    if _SCHEME.match(text) and not _REMOTE.match(text):
        raise UserError(
            f"{_label(text, name)}: only local paths and gs://BUCKET/NAME can be used; copy the files to one of these"
        )


def as_path(path: str | os.PathLike[str], name: str = "") -> Path:
    """A local path or one in gs://.

    Args:
      path: the path.
      name: as for `check_path`.

    Raises:
      UserError: as for `check_path`, or the packages for gs:// are not installed.
    """
    check_path(path, name)
    if not is_remote(path):
        return pathlib.Path(path)
    try:
        from etils import epath

        remote = epath.Path(os.fspath(path))
        if not any(importlib.util.find_spec(package) for package in ("gcsfs", "tensorflow")):
            remote.exists()  # raises unless a test replaces the file system
    except ImportError as error:
        text = _label(os.fspath(path), name)
        raise UserError(f"{text}: gs:// needs the package gcsfs; pip install 'dmlcsr_jax[gcs]'") from error
    return remote


def local_path(path: str | os.PathLike[str], name: str, why: str) -> pathlib.Path:
    """A local path.

    Args:
      path: the path.
      name: as for `check_path`.
      why: what needs a local path, and what to do instead, for the message.

    Raises:
      UserError: the path has a scheme.
    """
    text = os.fspath(path)
    if _SCHEME.match(text):
        raise UserError(f"{_label(text, name)} is not a local path; {why}")
    return pathlib.Path(text)


def _label(text: str, name: str) -> str:
    return f"{name}={text}" if name else text


def absolute(path: Path) -> Path:
    """The path from the root on."""
    return path if is_remote(path) else path.absolute()


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, in the order of their names; none if there is no folder."""
    if not folder.is_dir():
        return []
    entries = sorted(folder.iterdir(), key=lambda path: path.name)
    return [file for path in entries for file in (files_below(path) if path.is_dir() else [path])]


def size(file: Path) -> int:
    """The number of bytes of a file."""
    stat = file.stat()
    return stat.st_size if isinstance(stat, os.stat_result) else stat.length


def modified(file: Path) -> float:
    """When a file was last written, in seconds since 1970."""
    stat = file.stat()
    return stat.st_mtime if isinstance(stat, os.stat_result) else stat.mtime


def remove_tree(folder: Path) -> None:
    """Removes a folder, if there is one, with all that is in it."""
    if isinstance(folder, pathlib.Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.rmtree(missing_ok=True)


class LocalFolder(contextlib.AbstractContextManager["LocalFolder"]):
    """A local folder in which files for `target` are written: `target` itself, or a temporary one if that is remote.

    `upload` copies all files of a temporary one to `target`; leaving the context does so too, even after an error, and
    then removes the temporary folder.
    """

    def __init__(self, target: Path):
        self._target = target
        self._temporary = tempfile.TemporaryDirectory() if is_remote(target) else None
        self.path = pathlib.Path(self._temporary.name) if self._temporary else pathlib.Path(target)

    def upload(self) -> None:
        """Copies the files to a remote target; does nothing for a local one."""
        if self._temporary:
            upload(files_below(self.path), self.path, self._target)

    def __exit__(self, *_: object) -> None:
        if self._temporary:
            with self._temporary:
                self.upload()


def upload(files: list[Path], folder: Path, target: Path) -> None:
    """Copies files below a local folder, in order, to the same places below a remote one."""
    from etils import epath

    for file in files:
        copy = target / file.relative_to(folder).as_posix()
        copy.parent.mkdir(parents=True, exist_ok=True)
        epath.Path(os.fspath(file)).copy(copy, overwrite=True)


@contextlib.contextmanager
def reaching(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what remote storage raises (no such bucket, no permission, no network) into one UserError.

    Args:
      path: what is read or written meanwhile; errors pass unchanged if it is local.
    """
    try:
        yield
    except Exception as error:
        if not is_remote(path) or not _is_of_storage(error):
            raise
        raise UserError(
            f"{path} cannot be reached ({first_line(error)}); check the bucket's name, and that you are logged in: "
            "gcloud auth application-default login"
        ) from error


def _is_of_storage(error: Exception) -> bool:
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or package in _CLIENTS or "googleapis.com" in str(error)
