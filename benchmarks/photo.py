"""Times `FaceParser` on one photo: loading, the first call, and where later calls spend their time.

    python -m benchmarks.photo [--workdir=WORKDIR] [--size=512] [--photo=FILE] [--repeats=9]

Without a workdir the parser is the shipped one; without a photo the image is a drawn face. Each row has its own
process, in which nothing is compiled before the first call:

- whole: the photo is the face (`faces="whole"`)
- auto: the face is searched for (`faces="auto"`)
- auto, a third of the frame: likewise, but around the photo is a frame of three times its size

Later calls are medians, and so are their parts: taking the crops that the network sees, the network, mapping its labels
back to the photo, and the rest, which is mostly the search. "parsed" counts the crops of one call.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from rich.table import Table

from benchmarks import side_by_side, workload
from benchmarks.photo_changes import Pair, put_into_frame
from benchmarks.side_by_side import console
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.inference import parser as module
from dmlcsr_jax.inference.images import read_image
from dmlcsr_jax.inference.parser import Faces

ROWS: dict[str, tuple[Faces, bool]] = {
    "whole": ("whole", False),
    "auto": ("auto", False),
    "auto, a third of the frame": ("auto", True),
}
STAGES = ("crops", "network", "labels back")


class Times(NamedTuple):
    """Seconds of one row.

    Attributes:
      load: creating the parser.
      first: the first call, compilation included.
      later: a later call, the median.
      stages: stage -> its seconds in a later call, the median.
      parsed: how many crops the network parsed in a call; several if faces were searched for in parts of the image.
    """

    load: float
    first: float
    later: float
    stages: dict[str, float]
    parsed: int


def measure(workdir: str, faces: Faces, photo: np.ndarray, repeats: int) -> Times:
    """Loads a parser and times calls with a photo, [H, W, 3] uint8 RGB.

    Raises:
      UserError: there is no checkpoint in `workdir`.
    """
    start = time.perf_counter()
    parser = FaceParser.load(workdir, faces=faces)
    load = time.perf_counter() - start
    first = side_by_side.timed(lambda: parser(photo))
    calls = []
    for _ in range(repeats):
        with _stage_times(parser) as seconds:
            start = time.perf_counter()
            parser(photo)
            calls.append({"all": time.perf_counter() - start} | seconds)
    medians = {name: statistics.median(call[name] for call in calls) for name in ("all", *STAGES)}
    return Times(load, first, medians.pop("all"), medians, round(calls[-1]["parsed"]))


@contextlib.contextmanager
def _stage_times(parser: FaceParser) -> Iterator[dict[str, float]]:
    """The seconds of each stage within this context and, as "parsed", the number of crops; updated by each call."""
    seconds: dict[str, float] = dict.fromkeys((*STAGES, "parsed"), 0.0)

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = jax.block_until_ready(function(*arguments))
            seconds[stage] += time.perf_counter() - start
            seconds["parsed"] += stage == "crops"
            return result

        return call

    with (
        mock.patch.object(module, "take_crop", clocked("crops", module.take_crop)),
        mock.patch.object(module, "restore_crop", clocked("labels back", module.restore_crop)),
        mock.patch.object(parser._engine, "labels", clocked("network", parser._engine.labels)),
    ):
        yield seconds


def processor_name() -> str:
    """The name of the accelerator, or of the processor as Linux knows it."""
    device = jax.devices()[0].device_kind
    information = pathlib.Path("/proc/cpuinfo")
    if device != "cpu" or not information.exists():
        return device if device != "cpu" else platform.processor()
    found = re.search(r"model name\s*: (.+)", information.read_text())
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


def result_table(results: Mapping[str, Times], title: str) -> Table:
    """One row per way to find the face; seconds for what happens once, milliseconds for later calls."""
    table = Table("faces", title=title)
    for heading in ("load s", "first call s", "later calls ms", *STAGES, "rest", "parsed"):
        table.add_column(heading, justify="right")
    for name, times in results.items():
        stages = [times.stages[stage] for stage in STAGES]
        parts = (f"{1000 * seconds:.1f}" for seconds in (times.later, *stages, max(0.0, times.later - sum(stages))))
        table.add_row(name, f"{times.load:.1f}", f"{times.first:.1f}", *parts, str(times.parsed))
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--workdir", default="portrait", help="of the parser; the shipped weights if omitted")
    parser.add_argument("--size", type=int, default=512, help="height and width of the drawn face")
    parser.add_argument("--photo", help="image file, in place of the drawn face")
    parser.add_argument("--repeats", type=int, default=9, help="later calls")
    flags = parser.parse_args(argv)
    side_by_side.set_environment()
    results = {}
    try:
        photo = read_image(pathlib.Path(flags.photo)) if flags.photo else draw_face(0, flags.size)[0]
        framed = put_into_frame(Pair(photo, np.zeros(photo.shape[:2], np.uint8)), rng=np.random.default_rng(0)).image
        for name, (faces, frame) in ROWS.items():
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                image = framed if frame else photo
                results[name] = process.submit(measure, flags.workdir, faces, image, flags.repeats).result()
    except UserError as error:
        parser.exit(1, f"error: {error}\n")
    size = f"{photo.shape[1]} x {photo.shape[0]}"
    console.print(result_table(results, f"one photo of {size}, {flags.workdir}, on {processor_name()}"))


if __name__ == "__main__":
    main()
