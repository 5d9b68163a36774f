"""What a prepared data set holds, counted while it is prepared, and how that is shown."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from dmlcsr_jax.datasets.spec import FaceSpec

_SHOWN = 10  # messages of a kind on the screen; the file has them all


@dataclasses.dataclass
class Tally:
    """Counts of a split, or of a part of it.

    Attributes:
      examples: number of examples.
      pixels: class name -> pixels of it in all label maps; "ignored" those of the spec's `ignore_id`.
      skipped: what was left out and why, a line each.
      remarks: what was used although something beside picture and labels is wrong, a line each.
    """

    examples: int = 0
    pixels: dict[str, int] = dataclasses.field(default_factory=dict)
    skipped: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.examples += other.examples
        for name, count in other.pixels.items():
            self.pixels[name] = self.pixels.get(name, 0) + count
        self.skipped += other.skipped
        self.remarks += other.remarks
        return self


def count_pixels(labels: np.ndarray, spec: FaceSpec) -> dict[str, int]:
    """Class name -> pixels, of an integer label map of the spec's classes and its `ignore_id` ("ignored")."""
    counts = np.bincount(labels.ravel(), minlength=256)
    found = dict(zip(spec.class_names, counts.tolist(), strict=False))
    return found | {"ignored": int(counts[spec.ignore_id])}


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a whole prepared data set holds.

    Attributes:
      splits: name of a split -> its counts.
      official: name of a split -> number of examples that its publication names; empty where there is none.
      notes: what is to be known about the whole, such as how it was split.
    """

    splits: Mapping[str, Tally]
    official: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def write(self, directory: pathlib.Path) -> None:
        """Writes `summary.json`."""
        (directory / "summary.json").write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, directory: pathlib.Path) -> "Summary":
        """The reverse of `write`."""
        values = json.loads((directory / "summary.json").read_text())
        splits = {name: Tally(**tally) for name, tally in values["splits"].items()}
        return cls(splits, values["official"], tuple(values["notes"]))

    @property
    def skipped(self) -> list[str]:
        """What was left out of all splits and why."""
        return [line for tally in self.splits.values() for line in tally.skipped]

    def differences(self) -> list[str]:
        """A line for every split whose number of examples is not the official one."""
        found = {split: tally.examples for split, tally in self.splits.items()}
        return [
            f"{split}: {found.get(split, 0):,} examples, officially {self.official.get(split, 0):,}"
            for split in dict.fromkeys([*self.official, *found])
            if self.official and found.get(split, 0) != self.official.get(split, 0)
        ]

    def show(self, spec: FaceSpec, directory: str) -> Iterator[RenderableType]:
        """The summary for a terminal: examples by split, pixels by class, what was skipped and why."""
        yield _examples_table(self)
        yield _pixels_table(self, spec)
        yield from self.notes
        yield from (f"not the official number – {line}" for line in self.differences())
        remarks = [line for tally in self.splits.values() for line in tally.remarks]
        for title, lines in (("left out", self.skipped), ("used, but", remarks)):
            yield from (f"{title}: {line}" for line in lines[:_SHOWN])
            if len(lines) > _SHOWN:
                yield f"{title}: {len(lines) - _SHOWN} more, all in {directory}/summary.json"


def _examples_table(summary: Summary) -> Table:
    table = Table("split", title="examples")
    columns = ["examples", "officially", "left out"] if summary.official else ["examples", "left out"]
    for column in columns:
        table.add_column(column, justify="right")
    for split, tally in summary.splits.items():
        official = [f"{summary.official.get(split, 0):,}"] if summary.official else []
        table.add_row(split, f"{tally.examples:,}", *official, f"{len(tally.skipped):,}")
    return table


def _pixels_table(summary: Summary, spec: FaceSpec) -> Table:
    """Pixels of each class, in numbers and as a share of its split."""
    table = Table("class", title="pixels")
    for split in summary.splits:
        table.add_column(split, justify="right")
        table.add_column("%", justify="right")
    totals = {split: max(sum(tally.pixels.values()), 1) for split, tally in summary.splits.items()}
    for name in (*spec.class_names, "ignored"):
        cells = []
        for split, tally in summary.splits.items():
            cells += [f"{tally.pixels.get(name, 0):,}", f"{100 * tally.pixels.get(name, 0) / totals[split]:.2f}"]
        table.add_row(name, *cells)
    return table
