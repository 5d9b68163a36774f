"""Writes the examples of a data set in parts, on all cores, so that interrupted preparation can resume.

A part (one file of a split) is finished once its tally, a JSON file of the same stem, exists. The tally is written
last, and both files are renamed into place.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core import writer as tfds_writer

from dmlcsr_jax.console import print_plain, progress_bar
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.summary import Tally
from dmlcsr_jax.files import replacing, write_text

EXAMPLES_PER_PART = 256

Item = TypeVar("Item")
# A serialized example, None if it is skipped, and its tally.
Prepared = tuple[bytes | None, Tally]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(Generic[Item]):
    """Some consecutive items of a split, and the files for their examples.

    Attributes:
      items: what the examples are made from.
      records: the file of examples.
      tally_path: the JSON file of their `Tally`.
    """

    items: Sequence[Item]
    records: pathlib.Path
    tally_path: pathlib.Path

    def is_finished(self) -> bool:
        """Whether an earlier run has written it."""
        return self.tally_path.exists() and self.records.exists()

    def tally(self) -> Tally:
        """The counts of a finished part."""
        return Tally(**json.loads(self.tally_path.read_text()))


def make_parts(split: str, items: Sequence[Item], folder: pathlib.Path) -> list[Part[Item]]:
    """Divides the items of a split into parts of at most `EXAMPLES_PER_PART`, to be written to `folder`."""
    parts = []
    for number, start in enumerate(range(0, len(items), EXAMPLES_PER_PART)):
        stem = f"{split}-{number:05d}"
        some = items[start : start + EXAMPLES_PER_PART]
        parts.append(Part(items=some, records=folder / f"{stem}.records", tally_path=folder / f"{stem}.json"))
    return parts


def write_parts(title: str, parts: Sequence[Part[Item]], prepare: Callable[[Item], Prepared]) -> None:
    """Writes the parts that are not finished yet, with a progress bar.

    Args:
      title: the description of the progress bar.
      parts: all parts of the data set.
      prepare: makes an example from an item; called from several threads. Its errors are raised here; parts finished
        before that are kept.
    """
    unfinished = [part for part in parts if not part.is_finished()]
    total, left = (sum(len(part.items) for part in some) for some in (parts, unfinished))
    if left < total:
        print_plain(f"{title}: resuming, {total - left:,} of {total:,} examples are done")
    results = parallel_map(prepare, itertools.chain.from_iterable(part.items for part in unfinished))
    with progress_bar(title, transient=True) as progress:
        task = progress.add_task("", total=total, completed=total - left, text="")
        for part in unfinished:
            _write(part, itertools.islice(results, len(part.items)), lambda: progress.advance(task))


def _write(part: Part[Item], results: Iterable[Prepared], advance: Callable[[], None]) -> None:
    tally = Tally()

    def records() -> Iterator[tuple[int, bytes]]:
        nonlocal tally
        for number, (example, counted) in enumerate(results):
            tally += counted
            advance()
            if example is not None:
                yield number, example

    with replacing(part.records) as temporary:
        tfds_writer.ExampleWriter(tfds.core.FileFormat.ARRAY_RECORD).write(temporary, records())
    write_text(part.tally_path, json.dumps(dataclasses.asdict(tally)))
