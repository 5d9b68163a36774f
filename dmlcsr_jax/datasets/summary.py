"""Counts of a prepared data set: made during preparation, stored, and shown."""

import dataclasses
import json
from collections.abc import Iterator, Mapping

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from dmlcsr_jax.datasets.copies import SUMMARY, size_text
from dmlcsr_jax.datasets.label_checks import Palettes, merge_palettes
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.files import write_text
from dmlcsr_jax.paths import Path, is_remote

_MAX_NAMED = 3  # files of a warning
_MAX_SHOWN = 10  # messages of each kind on the terminal; the file has all


@dataclasses.dataclass
class Tally:
    """Counts of a split or of a part of it.

    Attributes:
      examples: number of examples.
      pixels: class name -> number of pixels in all label maps; "ignored" counts those of the spec's `ignore_id`.
      skipped: one line per skipped example, with the reason.
      remarks: one line per example with a problem apart from image and labels.
      warnings: what may be wrong -> the files.
      palettes: the colors that palettes give to class numbers, with example files.
    """

    examples: int = 0
    _: dataclasses.KW_ONLY
    pixels: dict[str, int] = dataclasses.field(default_factory=dict)
    skipped: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    warnings: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    palettes: Palettes = dataclasses.field(default_factory=dict)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.examples += other.examples
        for name, count in other.pixels.items():
            self.pixels[name] = self.pixels.get(name, 0) + count
        self.skipped += other.skipped
        self.remarks += other.remarks
        for problem, files in other.warnings.items():
            self.warnings.setdefault(problem, []).extend(files)
        merge_palettes(self.palettes, other.palettes)
        return self


def count_pixels(labels: np.ndarray, spec: FaceSpec) -> dict[str, int]:
    """Counts the pixels of each class, and of `spec.ignore_id` as "ignored", in a [H, W] uint8 label map."""
    counts = np.bincount(labels.ravel(), minlength=256)
    found = dict(zip(spec.class_names, counts.tolist(), strict=False))
    return {"ignored": int(counts[spec.ignore_id])} | found


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts of a prepared data set.

    Attributes:
      splits: split name -> its counts.
      official: split name -> number of examples according to the publication; empty if there is none.
      notes: lines about the whole data set, such as how it was split.
    """

    splits: Mapping[str, Tally]
    _: dataclasses.KW_ONLY
    official: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Writes `summary.json`."""
        write_text(directory / SUMMARY, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, directory: Path) -> "Summary":
        """Reads `summary.json`."""
        values = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
        splits = {name: Tally(**tally) for name, tally in values["splits"].items()}
        return cls(splits, official=values["official"], notes=tuple(values["notes"]))

    @property
    def skipped(self) -> list[str]:
        """One line per skipped example of all splits, with the reason."""
        return [line for tally in self.splits.values() for line in tally.skipped]

    def file_warnings(self) -> list[str]:
        """One line per kind of problem that files may have, with the first files."""
        total: dict[str, list[str]] = {}
        for tally in self.splits.values():
            for problem, files in tally.warnings.items():
                total.setdefault(problem, []).extend(files)
        return [_name_files(problem, files) for problem, files in total.items()]

    def differences(self) -> list[str]:
        """One line per split whose number of examples differs from the official one."""
        found = {split: tally.examples for split, tally in self.splits.items()}
        return [
            f"{split}: {found.get(split, 0):,} examples instead of {self.official.get(split, 0):,}"
            for split in dict.fromkeys([*self.official, *found])
            if self.official and found.get(split, 0) != self.official.get(split, 0)
        ]

    def without_pixels(self, split: str, spec: FaceSpec) -> list[str]:
        """The classes that no pixel of a split has."""
        return [name for name in spec.class_names if not self.splits[split].pixels.get(name)]

    def show(self, spec: FaceSpec, directory: str) -> Iterator[RenderableType]:
        """The summary for a terminal: examples per split, pixels per class, notes, problems, and where the data is."""
        yield _examples_table(self)
        yield _pixels_table(self, spec)
        yield from self.notes
        yield from (f"not the official size – {line}" for line in self.differences())
        remarks = [line for tally in self.splits.values() for line in tally.remarks]
        for title, lines in (("skipped", self.skipped), ("used, but", remarks)):
            yield from (f"{title}: {line}" for line in lines[:_MAX_SHOWN])
            if len(lines) > _MAX_SHOWN:
                yield f"{title}: {len(lines) - _MAX_SHOWN} more, all in {directory}/{SUMMARY}"
        removal = f"gcloud storage rm -r {directory}" if is_remote(directory) else "--mode=prepare --clean"
        yield f"prepared copy: {directory}, {size_text(directory)}; {removal} removes it"


def _name_files(problem: str, files: list[str]) -> str:
    named = ", ".join(files[:_MAX_NAMED])
    more = f" and {len(files) - _MAX_NAMED} more (all in summary.json)" if len(files) > _MAX_NAMED else ""
    return f"{problem}: {len(files)} file{'s' * (len(files) > 1)}, {named}{more}"


def _examples_table(summary: Summary) -> Table:
    table = Table("split", title="examples")
    columns = ["examples", "official", "skipped"] if summary.official else ["examples", "skipped"]
    for column in columns:
        table.add_column(column, justify="right")
    for split, tally in summary.splits.items():
        official = [f"{summary.official.get(split, 0):,}"] if summary.official else []
        table.add_row(split, f"{tally.examples:,}", *official, f"{len(tally.skipped):,}")
    return table


def _pixels_table(summary: Summary, spec: FaceSpec) -> Table:
    """Pixels per class, absolute and as a percentage of the split."""
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
