"""Files that are whole or absent, and files of JSON lines. In gs:// a file is whole as soon as it appears."""

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator

from dmlcsr_jax.paths import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
    """Gives a local temporary path of the same suffix to write, beside `path` if that is local; replaces `path` by it.

    If the block raises, the temporary file is removed and `path` stays as it was.
    """
    if not isinstance(path, pathlib.Path):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, path.name)
            yield file
            path.write_bytes(file.read_bytes())
        return
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def printable(name: str) -> str:
    """A file name as UTF-8 can have it: bytes that are not UTF-8 become escapes such as `\\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_text(path: Path, text: str) -> None:
    """Replaces a file by UTF-8 `text`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json_lines(path: Path) -> list[dict[str, float]]:
    """The objects of a file that has one per line; none if the file is missing.

    Reading ends at a line that is no JSON: a killed process may leave half of its last one.
    """
    values = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return values


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file, whole or not at all.

    A killed process may leave a hidden file that ends in `.part`, which the next attempt to write `path` replaces.
    """
    if not isinstance(path, pathlib.Path):
        path.write_bytes(data)
        return
    temporary = path.with_name(f".{hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
