"""Scores a parser on images that are turned, gray, small, compressed, dark, covered, blurred or show several faces.

    python -m benchmarks.robustness [--data=ROOT] [--workdir=WORKDIR] [--faces=whole|auto] [--json=FILE]

ROOT has the layout of `config.dataset.name=folder`; without it the images are drawn faces. Without a workdir the parser
is the shipped one. Each condition changes all images (benchmarks/photo_changes.py) and is scored at their size with one
confusion matrix; 255 is ignored:

- turned: by 30° about the center, labels too; the corners are black and ignored
- half size: images averaged to half their size; the parser's labels are enlarged to the full size
- dark: 255 (image / 255)^2.5
- covered: an ellipse of one color over 15 % of the face, ignored; below the table stands what it is taken for
- blurred: Gaussian with a standard deviation of 0.6 % of the shorter side
- a third of the frame: a frame of three times the size, in colors that run into each other, labeled as background
- 2 × 2 faces: four images side by side

The last two always search for faces (`faces="auto"`). The table shows F1 in percent (for several classes their mean),
and how many faces were found.
"""

import argparse
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich import box
from rich.table import Table

from benchmarks import workload
from benchmarks.photo_changes import Condition, Pair, conditions
from benchmarks.side_by_side import console
from dmlcsr_jax import environment
from dmlcsr_jax.console import progress_bar
from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.folder import Folder
from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.inference import FaceParser

# Column -> the classes of CelebAMask-HQ, LaPa and Helen that it shows the mean of.
COLUMNS = {
    "skin": ("skin", "face"),
    "hair": ("hair",),
    "nose": ("nose",),
    "eyes": ("l_eye", "r_eye", "left_eye", "right_eye"),
    "brows": ("l_brow", "r_brow", "left_eyebrow", "right_eyebrow"),
    "lips": ("u_lip", "l_lip", "upper_lip", "lower_lip"),
    "ears": ("l_ear", "r_ear"),
    "glasses": ("eye_g",),
    "hat": ("hat",),
    "earring": ("ear_r",),
    "necklace": ("neck_l",),
    "neck": ("neck",),
    "cloth": ("cloth",),
}


class Result(NamedTuple):
    """The result of one condition.

    Attributes:
      scores: what `dmlcsr_jax.evaluation.confusion.scores` returns.
      found: faces that the parser found.
      faces: images, each of which shows one face.
      covered: what covered pixels are taken for -> their share, 0..1; empty if none are covered.
    """

    scores: dict[str, Any]
    found: int
    faces: int
    covered: dict[str, float]


def read_pairs(root: str | None, split: str, count: int | None) -> tuple[FaceSpec, list[Callable[[], Pair]]]:
    """The classes of a data set, and what reads its pairs.

    Args:
      root: a folder data set; None for drawn faces of 512 x 512.
      split: of the folder.
      count: the most pairs; None for all (20 drawn faces).

    Raises:
      UserError: the folder is invalid, or has no such split.
    """
    if root is None:
        return get_spec("synthetic"), [partial(_draw, seed) for seed in range(count or 20)]
    folder = Folder(root)
    items = folder.items(split)[:count]
    if not items:
        raise UserError(f"--split={split}: {root} has no images in {split}/images; choose another split")
    return folder.spec, [partial(_read, folder, item) for item in items]


def _draw(seed: int) -> Pair:
    return Pair(*draw_face(seed, 512))


def _read(folder: Folder, item: Any) -> Pair:
    example = folder.example(item)
    return Pair(decode_image(example.image), example.labels)


def measure(
    parser: FaceParser, readers: Sequence[Callable[[], Pair]], condition: Condition, *, batch_size: int = 8
) -> Result:
    """Parses and scores the images of one condition, `batch_size` at once."""
    classes = parser.spec.num_classes
    confusion, behind = np.zeros((2, classes, classes), np.int64)
    found = 0
    changed = (condition.change(*some) for some in _chunks((read() for read in readers), condition.images))
    for batch in _chunks(changed, batch_size):
        for pair, face in zip(batch, parser([pair.image for pair in batch]), strict=True):
            labels = cv2.resize(face.labels, pair.labels.shape[::-1], interpolation=cv2.INTER_NEAREST)
            confusion += confusion_matrix(pair.labels, labels, classes)
            if pair.covered is not None:
                behind += confusion_matrix(pair.covered, labels, classes)
            found += len(face.crops)
    return Result(scores(confusion, parser.spec), found, len(readers), _shares(behind))


def _chunks(pairs: Iterable[Pair], count: int) -> Iterator[list[Pair]]:
    iterator = iter(pairs)
    return iter(lambda: list(itertools.islice(iterator, count)), [])


def _shares(behind: np.ndarray) -> dict[str, float]:
    """What covered pixels are taken for; `behind` is their confusion matrix."""
    if not behind.any():
        return {}
    counts = {"background": behind[:, 0].sum(), "the part behind it": np.trace(behind) - behind[0, 0]}
    counts["another part"] = behind.sum() - sum(counts.values())
    return {name: float(count / behind.sum()) for name, count in counts.items()}


def result_table(results: Mapping[str, Result], spec: FaceSpec, title: str) -> Table:
    """One row per condition; changes are relative to the first one, in percentage points."""
    columns = {name: own for name, known in COLUMNS.items() if (own := [k for k in known if k in spec.class_names])}
    table = Table(title=title, box=box.SIMPLE, padding=0)
    table.add_column("F1 %")
    for heading in ("mean", "change", *columns, "found"):
        table.add_column(heading, justify="right")
    clean = next(iter(results.values())).scores["mean_f1"]
    for name, result in results.items():
        mean = result.scores["mean_f1"]
        change = "" if None in (mean, clean) else f"{100 * (mean - clean):+.1f}"
        values = [_percent([result.scores["f1"][own] for own in some]) for some in columns.values()]
        table.add_row(name, _percent([mean]), change, *values, f"{result.found}/{result.faces}")
        if result.covered:
            shares = ", ".join(f"{100 * share:.0f} % {what}" for what, share in result.covered.items())
            table.caption = f"covered pixels are taken for: {shares}"
    return table


def _percent(values: Sequence[float | None]) -> str:
    """The mean of the values that are known."""
    known = [value for value in values if value is not None]
    return f"{100 * sum(known) / len(known):.1f}" if known else "–"


def run(flags: argparse.Namespace) -> dict[str, Result]:
    """Measures all conditions, prints the table and writes the file.

    Raises:
      UserError: the data or the workdir is invalid, or they have different classes.
    """
    spec, readers = read_pairs(flags.data, flags.split, flags.images)
    parsers = cache(lambda faces: FaceParser.load(flags.workdir, faces=faces, batch_size=flags.batch))
    if parsers(flags.faces).spec.class_names != spec.class_names:
        raise UserError(f"{flags.workdir} parses other classes than those of {flags.data or 'the drawn faces'}")
    results = {}
    with progress_bar("scoring", transient=True) as progress:
        chosen = conditions(spec)
        task = progress.add_task("", total=len(chosen), text="")
        for name, condition in chosen.items():
            progress.update(task, text=name)
            parser = parsers("auto" if condition.search else flags.faces)
            results[name] = measure(parser, readers, condition, batch_size=flags.batch)
            progress.advance(task)
    data = f"{len(readers)} images of {flags.data}" if flags.data else f"{len(readers)} drawn faces"
    console.print(result_table(results, spec, f"robustness of {flags.workdir}, faces={flags.faces}: {data}"))
    if flags.json:
        written = {name: result._asdict() for name, result in results.items()}
        pathlib.Path(flags.json).write_text(json.dumps(written, indent=2) + "\n")
    return results


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the flags and runs."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--data", help="folder data set; drawn faces if omitted")
    parser.add_argument("--workdir", default="portrait", help="of the parser; the shipped weights if omitted")
    parser.add_argument("--faces", choices=("whole", "auto"), default="whole", help="where the faces are")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"), help="of the data")
    parser.add_argument("--images", type=int, help="only the first images of the split")
    parser.add_argument("--batch", type=int, default=8, help="images per call of the network")
    parser.add_argument("--json", help="file for all scores")
    flags = parser.parse_args(argv)
    environment.compute_in_order()
    environment.use_compilation_cache()
    try:
        run(flags)
    except UserError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
