"""Times reading training examples (decoding, augmentation and labels at 473²) against a plain OpenCV loop.

    python -m benchmarks.input_pipeline [--images=48] [--rounds=3] [--image-sizes 512 1024] [--threads 1 2] [--batch=8]

The loop does in one process what the published data set class does: it reads an image, a label map and a stored edge
map from files and warps all three. It omits the normalization that follows there, because ours runs on the device.
Ours is `TrainInput` from prepared data, with threads of one process (`config.input.num_workers` = 0), one per core, on
as many cores as `--threads` says, and with one and two worker processes; the device computes the edges. All sides run
in turns; the tables show medians. Threads share the examples of a batch, so a batch should have more of them. Images
are drawn faces with noise, so their JPEG files are as large as those of photos.

The rate per core is examples per second of processor time, over all processes. OpenCV always uses one thread. Two plain
loops at once share nothing, so their gain over one is what the machine allows.
"""

import collections
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.pool import Pool
from typing import Any

import cv2
import numpy as np
from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.builder import FaceBuilder
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.folder import Folder
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.pipeline import geometry
from dmlcsr_jax.pipeline.edges import edge_labels
from dmlcsr_jax.pipeline.input_pipeline import Examples, TrainInput

SIZE = 473
SPEC = get_spec("synthetic")
DRAWN = 8  # different faces


def write_files(root: pathlib.Path, size: int, images: int) -> None:
    """Writes ROOT/train/{images,labels,edges} as the published code reads them, and the list of class names."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels", "edges"):
        (root / "train" / kind).mkdir(parents=True)
    (root / "label_names.txt").write_text("\n".join(SPEC.class_names))
    faces = [draw_face(number, 256) for number in range(DRAWN)]
    for number in range(images):
        face, labels = faces[number % DRAWN]
        face = cv2.resize(face, (size, size), interpolation=cv2.INTER_CUBIC)
        noise = cv2.resize(rng.normal(0, 5, (size // 2, size // 2, 3)), (size, size))
        image = np.clip(face + noise, 0, 255).astype(np.uint8)
        labels = cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST)
        edges = np.asarray(edge_labels(labels[None])[0])[0]
        cv2.imwrite(str(root / f"train/images/{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(root / f"train/labels/{number}.png"), labels)
        cv2.imwrite(str(root / f"train/edges/{number}.png"), edges)


class Clock:
    """Seconds of processor time per step."""

    def __init__(self):
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self.examples = 0

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Adds the time inside the context to a step."""
        start = time.thread_time()
        yield
        self.seconds[step] += time.thread_time() - start


LoadExample = Callable[[int, np.random.Generator, Clock], tuple[np.ndarray, ...]]


def random_matrix(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A random warp of a training example, as in the published data set class."""
    center, scale = geometry.whole_image(width, height, (SIZE, SIZE))
    scale = scale * np.clip(rng.standard_normal() * 0.25 + 1, 0.75, 1.25)
    degrees = np.clip(rng.standard_normal() * 30, -60, 60) if rng.random() <= 0.6 else 0
    return geometry.affine_matrix(center, scale, degrees, (SIZE, SIZE))


def plain_example(root: pathlib.Path, number: int, rng: np.random.Generator, clock: Clock) -> tuple[np.ndarray, ...]:
    """Image, labels and edges of one example, from their files."""
    with clock("decode image"):
        image = cv2.imread(str(root / f"train/images/{number}.jpg"), cv2.IMREAD_COLOR)
    with clock("decode labels"):
        labels = cv2.imread(str(root / f"train/labels/{number}.png"), cv2.IMREAD_GRAYSCALE)
    with clock("decode edges"):
        edges = cv2.imread(str(root / f"train/edges/{number}.png"), cv2.IMREAD_GRAYSCALE)
    matrix = random_matrix(image.shape[1], image.shape[0], rng)
    with clock("warp image"):
        image = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    with clock("warp edges"):
        edges = cv2.warpAffine(edges, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    with clock("warp labels"):
        labels = cv2.warpAffine(labels, matrix, (SIZE, SIZE), flags=cv2.INTER_NEAREST, borderValue=255)
    return image, labels, edges


def our_example(source: Examples, number: int, rng: np.random.Generator, clock: Clock) -> tuple[np.ndarray, ...]:
    """Image and labels of one example, in the same steps as `pipeline.transforms`."""
    with clock("read record"):
        example = source[number]
    with clock("decode image"):
        image = decode_image(example["image"])
    with clock("decode labels"):
        labels = decode_label(example["label"])
    matrix = random_matrix(image.shape[1], image.shape[0], rng)
    with clock("warp image"):
        image = geometry.warp_image(image, matrix, (SIZE, SIZE))
    with clock("warp labels"):
        labels = geometry.warp_labels(labels, matrix, (SIZE, SIZE))
    return image, labels


def time_loop(example: LoadExample, images: int, count: int) -> tuple[float, float, Clock]:
    """Wall and processor seconds per example of a loop over `example(number, rng, clock)`, and its steps."""
    rng, clock = np.random.default_rng(0), Clock()
    start, cpu = time.perf_counter(), time.process_time()
    for number in itertools.islice(itertools.cycle(range(images)), count):
        example(number, rng, clock)
    clock.examples = count
    return (time.perf_counter() - start) / count, (time.process_time() - cpu) / count, clock


def plain_loop(root: pathlib.Path, images: int) -> tuple[float, float, Clock]:
    """`time_loop` of the plain loop."""
    cv2.setNumThreads(1)
    return time_loop(partial(plain_example, root), images, 2 * images)


def two_plain_loops(pool: Pool, root: pathlib.Path, images: int) -> tuple[float, float]:
    """Wall and processor seconds per example of two plain loops, each in its own process."""
    runs = pool.starmap(plain_loop, [(root, images)] * 2, chunksize=1)
    return 1 / sum(1 / run[0] for run in runs), statistics.mean(run[1] for run in runs)


def time_batches(source: Examples, *, count: int, batch: int, workers: int = 0, cores: int = 2) -> tuple[float, float]:
    """Wall and processor seconds per example of `TrainInput.batches`, with full buffers before and after."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        return _time_batches(source, count, batch, workers)
    finally:
        os.sched_setaffinity(0, allowed)


def _time_batches(source: Examples, count: int, batch: int, workers: int) -> tuple[float, float]:
    train_input = TrainInput(source=source, spec=SPEC, size=(SIZE, SIZE), batch_size=batch, num_workers=workers)
    batches = train_input.batches()
    for _ in range(8):
        next(batches)
    start, cpu = time.perf_counter(), processor_seconds()
    for _ in range(count // batch):
        next(batches)
    examples = count // batch * batch
    result = (time.perf_counter() - start) / examples, (processor_seconds() - cpu) / examples
    batches.close()
    return result


def processor_seconds() -> float:
    """Processor time of this process and its workers (Linux)."""
    ticks = 0
    for pid in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(
    size: int, *, images: int, batch: int, threads: Sequence[int], rounds: int, rates: Table, steps: Table
) -> None:
    """Adds the rows of one image size to both tables."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        root = pathlib.Path(folder) / "faces"
        write_files(root, size, images)
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(2))
        source = FaceBuilder(Folder(root), data_dir=pathlib.Path(folder) / "prepared").dataset().source("train")
        run = partial(time_batches, source, count=4 * images, batch=batch)
        sides = {
            "plain loop": lambda: plain_loop(root, images),
            "two plain loops": lambda: two_plain_loops(pool, root, images),
            **{f"ours, {cores} thread{'s' * (cores > 1)}": partial(run, cores=cores) for cores in threads},
            "ours, 1 process": partial(run, workers=1),
            "ours, 2 processes": partial(run, workers=2),
            "ours, steps alone": lambda: time_loop(partial(our_example, source), images, 2 * images),
        }
        two_plain_loops(pool, root, images)  # starts the pool's processes
        results = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                results[name].append(side())
    add_rates(rates, size, results)
    add_steps(steps, size, results)


_KINDS = ("plain loop", "thread", "process")


def add_rates(table: Table, size: int, results: Mapping[str, list[Any]]) -> None:
    """Adds one row per side: its rates, and their ratios to the plain loop's and to the first side's of its kind."""
    wall = {name: statistics.median(run[0] for run in runs) for name, runs in results.items()}
    core = {name: statistics.median(run[1] for run in runs) for name, runs in results.items()}
    title = f"{size}²"
    for name in results:
        kind = next((kind for kind in _KINDS if kind in name), name)
        first = next(other for other in results if kind in other)
        scaling = f"{wall[first] / wall[name]:.2f}" if first != name else ""
        ratio = f"{core['plain loop'] / core[name]:.2f}"
        table.add_row(title, name, f"{1 / wall[name]:.0f}", f"{1 / core[name]:.0f}", ratio, scaling)
        title = ""
    table.add_section()


def add_steps(table: Table, size: int, results: Mapping[str, list[Any]]) -> None:
    """Adds one row per step: milliseconds of processor time per example of both loops."""
    clocks = {name: results[name][-1][2] for name in ("plain loop", "ours, steps alone")}
    title = f"{size}²"
    for step in dict.fromkeys(step for clock in clocks.values() for step in clock.seconds):
        cells = [f"{1e3 * clock.seconds[step] / clock.examples:.2f}" for clock in clocks.values()]
        table.add_row(title, step, *cells)
        title = ""
    table.add_section()


def main() -> None:
    """Prints the tables."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=48, help="images per size")
    parser.add_argument("--batch", type=int, default=8, help="examples per batch")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads, first the fewest")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs per side")
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[512, 1024], help="heights and widths")
    flags = parser.parse_args()
    cv2.setNumThreads(1)
    rates = Table("images", "reader", "examples/s", "per core", "to plain loop, per core", "to one")
    steps = Table("images", "step", "plain loop ms", "ours ms", title="processor time per example")
    cores = len(os.sched_getaffinity(0))
    threads = [number for number in flags.threads if number <= cores]
    for size in flags.image_sizes:
        options = {"images": flags.images, "batch": flags.batch, "rounds": flags.rounds}
        measure(size, threads=threads, rates=rates, steps=steps, **options)
    console.print(rates)
    console.print(steps)
    if threads != flags.threads:
        console.print(f"more threads than {cores} cores were not measured")


if __name__ == "__main__":
    main()
