"""Prepared copies of one source: which there are, who reads them, and the removal of those that are out of date.

A copy is the folder `DATA_DIR/NAME/KEY`. Its `source.json` says what it was made from. A process that reads a copy
holds a shared lock on its `summary.json`; one that prepares it, an exclusive lock on its `.lock`. Neither is removed.
In gs:// there are no locks, so no copy there is removed.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import IO, Any

from dmlcsr_jax.console import print_plain
from dmlcsr_jax.files import write_text
from dmlcsr_jax.paths import Path, as_path, files_below, size

SUMMARY = "summary.json"  # of a version; readers lock it
_RECORD = "source.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """What a copy is made from.

    Attributes:
      source: the raw data, a path without links.
      options: those of the data set.
      state: `RawDataset.state`.
    """

    source: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    state: str = ""


def data_root(data_dir: str | os.PathLike[str]) -> Path:
    """Where prepared data is stored: `data_dir`, or else $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    if os.fspath(data_dir):
        return as_path(data_dir, "config.dataset.data_dir").expanduser()
    return as_path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets", "$TFDS_DATA_DIR").expanduser()


def record(copy: Path, origin: Origin) -> None:
    """Notes in a copy that it belongs to a source; equal folders share a copy."""
    there = _read_record(copy)
    sources = there.get("sources", [])
    if origin.source not in sources:
        values = {"sources": [*sources, origin.source], "options": dict(origin.options), "state": origin.state}
        write_text(copy / _RECORD, json.dumps(values, indent=1))


def of_source(folder: Path, source: str) -> list[Path]:
    """The copies in `DATA_DIR/NAME` that are known to belong to a source."""
    if not folder.is_dir():
        return []
    return [copy for copy in sorted(folder.iterdir()) if source in _read_record(copy).get("sources", ())]


def remove_older(copy: Path, origin: Origin) -> None:
    """Removes the other copies of a source that are out of date, and says so.

    Those are copies with the same options, and copies of another state of the files. So two runs that alternate between
    two options of the same files each keep their copy.
    """
    for other in of_source(copy.parent, origin.source):
        there = _read_record(other)
        if other != copy and (there.get("options") == dict(origin.options) or there.get("state") != origin.state):
            print_plain(f"older copy {remove(other, origin.source)}")


def remove(copy: Path, source: str) -> str:
    """Removes a copy, unless it also belongs to another source or is in use; returns a line about it."""
    there, freed = _read_record(copy), size_text(copy)
    others = [other for other in there.get("sources", ()) if other != source]
    if others:
        write_text(copy / _RECORD, json.dumps(there | {"sources": others}, indent=1))
        return f"kept: {copy}, which is also that of {others[0]}"
    if not isinstance(copy, pathlib.Path):
        return f"kept: {copy}, {freed}; gs:// has no locks that say whether it is in use: gcloud storage rm -r {copy}"
    try:
        with contextlib.ExitStack() as locks:
            locks.enter_context(preparing(copy, wait=False))
            for summary in copy.glob(f"*/{SUMMARY}"):
                fcntl.flock(locks.enter_context(summary.open("r+b")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            for summary in copy.glob(f"*/{SUMMARY}"):  # first out of sight, because removal takes time
                summary.parent.rename(copy / f"incomplete.{summary.parent.name}")
            shutil.rmtree(copy)
    except BlockingIOError:
        return f"kept: {copy}, which a process uses"
    except OSError as error:
        return f"kept: {copy}, which cannot be removed ({error.strerror or error})"
    return f"removed: {copy}, {freed}"


def reading(directory: str | os.PathLike[str]) -> IO[bytes] | None:
    """A file that keeps prepared data from being removed as long as it is open; None if it cannot be locked."""
    try:
        file = open(os.path.join(directory, SUMMARY), "rb")  # noqa: SIM115  # closed with its owner
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        return None
    return file


@contextlib.contextmanager
def preparing(copy: pathlib.Path, *, wait: bool = True) -> Iterator[None]:
    """Excludes other processes from preparing or removing a copy, even if this process is killed.

    Raises:
      OSError: the copy cannot be written, or, unless `wait`, another process holds the lock.
    """
    path = copy / ".lock"
    while True:
        copy.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w")
        except FileNotFoundError:  # removed since the line before
            continue
        with file:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return  # otherwise the copy was removed while this process waited


def size_text(folder: str | os.PathLike[str]) -> str:
    """The size of all files in a folder: "12.3 MB"."""
    total = sum(map(size, files_below(as_path(folder))))
    factor, unit = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if total >= pair[0]), (1e3, "kB"))
    return f"{total / factor:.1f} {unit}"


def _read_record(copy: Path) -> dict[str, Any]:
    try:
        return json.loads((copy / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
