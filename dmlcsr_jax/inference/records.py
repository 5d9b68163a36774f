"""predictions.jsonl: one JSON object a line for each photo or video, written as they come."""

import json
import pathlib
from collections.abc import Container, Iterable, Iterator
from typing import Any

from dmlcsr_jax.files import replacing


def read_records(folder: pathlib.Path) -> dict[str, bool]:
    """The names in the files of all hosts, and whether results were written: an image without faces has none.

    Lines that a killed process left cut are passed over, and so are films that ended early.
    """
    found = {}
    for path in sorted(folder.glob("predictions*.jsonl")):
        with path.open("rb") as file:
            found |= {entry["name"]: has_results(entry) for _, entry in _entries(file) if "error" not in entry}
    return found


def has_results(entry: dict[str, Any]) -> bool:
    """Whether a photo or video has label maps and so on, which photos without a face do not get."""
    return "frames" in entry or bool(entry["faces"])


class RecordWriter:
    """A context that writes one line per `add`, at once.

    Args:
      path: the file.
      replaced: the names that will be written; their lines in an existing file, and a last one that was cut, are
        removed. None to start anew.
    """

    def __init__(self, path: pathlib.Path, replaced: Container[str] | None):
        if replaced is not None and path.exists():
            with path.open("rb") as file, replacing(path) as temporary, temporary.open("wb") as kept:
                kept.writelines(line for line, entry in _entries(file) if entry["name"] not in replaced)
        self._file = path.open("wb" if replaced is None else "ab")

    def add(self, entry: dict[str, Any]) -> None:
        """Writes an object, which has a `name`."""
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _entries(lines: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The whole lines and their objects."""
    for line in lines:
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("name"), str) and ("frames" in entry or "faces" in entry):
            yield line, entry
