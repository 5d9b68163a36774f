"""Times `predict`: a folder of JPEG files in, label maps and overlays out, against a plain loop over the same parser.

    python -m benchmarks.predict [--workdir=WORKDIR] [--faces=whole] [--photos=64] [--batch_size=4] [--repeats=3]

Without a workdir the parser is the shipped one. The photos are drawn faces of 512², 1024² and 3464² pixels, the last
being 12 megapixels and an eighth as many. The plain loop reads, parses and writes one photo after the other; the shares
of its time are those of decoding, parsing and encoding, writing included. "busy" is the time that all threads of
`predict` spend in these three, over the time it takes. Both sides run in turns in one process; photos per second are
medians.
"""

import contextlib
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

from rich.table import Table

from benchmarks import side_by_side, workload
from benchmarks.photo import processor_name
from benchmarks.side_by_side import console
from dmlcsr_jax.console import console as messages
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import encode_jpeg
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser, photos
from dmlcsr_jax.inference.images import read_image
from dmlcsr_jax.inference.inputs import list_inputs
from dmlcsr_jax.inference.options import Options
from dmlcsr_jax.inference.predict import predict
from dmlcsr_jax.inference.results import ResultWriter

SIDES = {512: 1.0, 1024: 1.0, 3464: 1 / 8}  # the sides of the photos, and how many there are of the number asked for
STAGES = ("decoding", "parsing", "encoding")
_DIFFERENT = 4  # photos are copies of this many
_WRITE = ("labels", "overlays")

Files = Sequence[tuple[str, pathlib.Path]]


class Times(NamedTuple):
    """Seconds of one run.

    Attributes:
      total: from the first file read to the last one written.
      stages: stage -> its seconds in all threads together.
    """

    total: float
    stages: dict[str, float]


def write_photos(folder: pathlib.Path, side: int, count: int) -> Files:
    """Writes drawn faces as JPEG files; (name, file) of each."""
    data = [encode_jpeg(draw_face(seed, side)[0], quality=90) for seed in range(min(count, _DIFFERENT))]
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}.jpg").write_bytes(data[number % len(data)])
    return list_inputs([str(folder)]).files


def run_loop(parser: FaceParser, files: Files, output: pathlib.Path) -> Times:
    """Decodes, parses and writes the photos one after the other."""
    results = ResultWriter(output, _WRITE, parser.spec)
    stages = dict.fromkeys(STAGES, 0.0)
    start = time.perf_counter()
    for name, file in files:
        with _added(stages, "decoding"):
            image = read_image(file)
        with _added(stages, "parsing"):
            (face,) = parser(image)
        with _added(stages, "encoding"):
            results.write(name, face)
            results.write_overlay(name, face.overlay())
    return Times(time.perf_counter() - start, stages)


def run_predict(parser: FaceParser, files: Files, output: pathlib.Path) -> Times:
    """Calls `predict`."""
    stages = dict.fromkeys(STAGES, 0.0)
    with contextlib.ExitStack() as stack:
        for stage, name in zip(STAGES, ("_decode", "_parse", "_write"), strict=True):
            timed = _timed(getattr(photos, name), stages, stage)
            stack.enter_context(mock.patch.object(photos, name, timed))
        stack.enter_context(mock.patch.object(messages, "quiet", True))
        start = time.perf_counter()
        predict(parser, files, output=output, options=Options(_WRITE))
        return Times(time.perf_counter() - start, stages)


def _timed(function: Callable[..., Any], stages: dict[str, float], stage: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        with _added(stages, stage):
            return function(*arguments, **options)

    return call


@contextlib.contextmanager
def _added(stages: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[stage] += time.perf_counter() - start


def measure(parser: FaceParser, side: int, count: int, repeats: int) -> tuple[list[Times], list[Times]]:
    """The times of the plain loop and of `predict`, after one run of each that compiles."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        files = write_photos(root / "photos", side, count)
        runs: tuple[list[Times], list[Times]] = [], []
        for turn in range(repeats + 1):
            for times, run in zip(runs, (run_loop, run_predict), strict=True):
                one = run(parser, files if turn else files[: parser.batch_size], root / "results")
                times.extend([one] if turn else [])
        return runs


def result_row(side: int, count: int, loop: Sequence[Times], ours: Sequence[Times]) -> list[str]:
    """The cells of one size of photos."""
    seconds = [statistics.median(times.total for times in runs) for runs in (loop, ours)]
    totals = [sum(times.total for times in loop)] * len(STAGES)
    shares = [sum(t.stages[stage] for t in loop) / total for stage, total in zip(STAGES, totals, strict=True)]
    busy = sum(sum(times.stages.values()) for times in ours) / sum(times.total for times in ours)
    rates = [count / value for value in seconds]
    return [
        f"{side}²",
        *(f"{rate:.3g}" for rate in rates),
        f"{rates[1] / rates[0]:.2f}",
        *(f"{share:.0%}" for share in shares),
        f"{busy:.2f}",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--workdir", default="portrait", help="of the parser; the shipped weights if omitted")
    parser.add_argument("--faces", default="whole", help="how faces are found, as in FaceParser")
    parser.add_argument("--photos", type=int, default=64, help="number of photos")
    parser.add_argument("--batch_size", type=int, default=4, help="images per call of the network")
    parser.add_argument("--sides", type=int, nargs="*", default=list(SIDES), help="sides of the photos, in pixels")
    parser.add_argument("--repeats", type=int, default=3, help="turns per size")
    flags = parser.parse_args(argv)
    side_by_side.set_environment()
    table = Table(title=f"predict, {flags.workdir}, on {processor_name()}")
    for heading in ("photos", "loop, photos/s", "predict, photos/s", "ratio", *STAGES, "busy"):
        table.add_column(heading, justify="right")
    try:
        face_parser = FaceParser.load(flags.workdir, faces=flags.faces, batch_size=flags.batch_size)
        for side in flags.sides:
            count = max(1, round(flags.photos * SIDES.get(side, 1.0)))
            table.add_row(*result_row(side, count, *measure(face_parser, side, count, flags.repeats)))
    except UserError as error:
        parser.exit(1, f"error: {error}\n")
    console.print(table)


if __name__ == "__main__":
    main()
