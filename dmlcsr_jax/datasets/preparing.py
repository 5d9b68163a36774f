"""Writes the examples of a data set in parts, by all cores, so that a run that was killed can go on.

A part (one file of a split) is there once its tally, a JSON file of the same name, is: that is written last, and both
are renamed into place.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from rich import console as rich_console
from rich import progress as rich_progress
from tensorflow_datasets.core import writer as tfds_writer

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.summary import Tally

EXAMPLES_PER_PART = 256


@dataclasses.dataclass(frozen=True)
class Part:
    """Some consecutive items of a split, and the files that they become.

    Attributes:
      split: the split's name.
      items: what the examples are made from.
      records: the file of examples.
      tally_path: the JSON file of their `Tally`.
    """

    split: str
    items: Sequence[Any]
    records: pathlib.Path
    tally_path: pathlib.Path

    def is_there(self) -> bool:
        """Whether an earlier run has written it."""
        return self.tally_path.exists() and self.records.exists()

    def tally(self) -> Tally:
        """What it holds; it must be there."""
        return Tally(**json.loads(self.tally_path.read_text()))


def make_parts(split: str, items: Sequence[Any], folder: pathlib.Path) -> list[Part]:
    """A split's items in parts of at most `EXAMPLES_PER_PART`, to be written into a folder."""
    starts = range(0, len(items), EXAMPLES_PER_PART)
    names = [f"{split}-{number:05d}" for number in range(len(starts))]
    return [
        Part(split, items[start : start + EXAMPLES_PER_PART], folder / f"{name}.records", folder / f"{name}.json")
        for start, name in zip(starts, names, strict=True)
    ]


def write_parts(title: str, parts: Sequence[Part], prepare: Callable[[Any], tuple[bytes | None, Tally]]) -> None:
    """Writes the parts that are not there yet, with a bar on the terminal.

    Args:
      title: of the bar.
      parts: all parts of the data set.
      prepare: item -> serialized example (None where it is left out) and its tally; called in many threads. What it
        raises is raised here; the parts written until then stay.
    """
    missing = [part for part in parts if not part.is_there()]
    total, left = (sum(len(part.items) for part in some) for some in (parts, missing))
    if left < total:
        console.print(f"{title}: going on, {total - left:,} of {total:,} were done before")
    results = parallel_map(prepare, itertools.chain.from_iterable(part.items for part in missing))
    with _progress_bar() as progress:
        task = progress.add_task(title, total=total, completed=total - left)
        for part in missing:
            _write(part, itertools.islice(results, len(part.items)), lambda: progress.advance(task))


def _write(part: Part, results: Iterable[tuple[bytes | None, Tally]], advance: Callable[[], None]) -> None:
    tally = Tally()

    def records() -> Iterator[tuple[int, bytes]]:
        for number, (example, counted) in enumerate(results):
            nonlocal tally
            tally += counted
            advance()
            if example is not None:
                yield number, example

    unfinished = part.records.with_suffix(".unfinished")
    tfds_writer.ExampleWriter(tfds.core.FileFormat.ARRAY_RECORD).write(unfinished, records())
    os.replace(unfinished, part.records)
    unfinished.write_text(json.dumps(dataclasses.asdict(tally)))
    os.replace(unfinished, part.tally_path)


def _progress_bar() -> rich_progress.Progress:
    columns = (*rich_progress.Progress.get_default_columns(), rich_progress.MofNCompleteColumn())
    terminal = rich_console.Console(stderr=True)
    return rich_progress.Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal)
