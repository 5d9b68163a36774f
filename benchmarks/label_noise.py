"""Measures the gain of self-regulation on noisy training labels: runs with and without it, for several seeds.

    python -m benchmarks.label_noise [--seeds 0 1 2] [--folder=runs/label_noise]

Every run is `configs/label_noise.py` with its own seed for initial weights, order, augmentation and label noise. All
kinds of run take the same number of steps; one kind has the learning rates of the cycles, but no teacher. Each run uses
one processor core, and as many run at once as there are cores. The table shows the mean F1 in percent on clean
validation images after the last step; clean labels select no checkpoint. Finished runs are not repeated; stopped ones
resume.
"""

import concurrent.futures
import os
import pathlib
import queue
import statistics
import subprocess
import sys
from collections.abc import Mapping

from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console
from dmlcsr_jax.files import read_json_lines

CONFIG = "configs/label_noise.py"
KINDS = {
    "without": ["--config.self_regulation.enabled=False"],
    "cycles": ["--config.self_regulation.self_ensemble=False", "--config.self_regulation.distillation=False"],
    "with": [],
}
# Row -> kind of run, and the score's name in metrics.jsonl.
ROWS = {
    "without self-regulation": ("without", "val/mean_f1"),
    "the cycles' rates alone": ("cycles", "val/mean_f1"),
    "with it, the teacher": ("with", "val_teacher/mean_f1"),
    "with it, the student": ("with", "val/mean_f1"),
}
Scores = Mapping[str, float]


def main() -> None:
    """Trains the missing runs and prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one run of each kind per seed")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/label_noise"), help="of all workdirs")
    parser.add_argument("flags", nargs="*", help="for main.py, such as --config.training.epochs=40, after --")
    options = parser.parse_args()
    call_main("--mode=prepare", f"--config={CONFIG}", *options.flags)  # once, before the runs that share the data
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    runs = [(kind, seed) for seed in options.seeds for kind in KINDS]
    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
        found = pool.map(lambda run: train_and_score(run, options.folder, options.flags, cores), runs)
        scores = dict(zip(runs, found, strict=True))
    print_table(scores, options.seeds)


def train_and_score(run: tuple[str, int], folder: pathlib.Path, flags: list[str], cores: "queue.Queue[int]") -> Scores:
    """Trains a run (kind, seed) on a free core; returns its last scores by their names in metrics.jsonl."""
    kind, seed = run
    workdir = folder / f"{kind}_{seed}"
    core = cores.get()
    try:
        call_main(
            f"--config={CONFIG}", f"--workdir={workdir}", f"--config.seed={seed}", *KINDS[kind], *flags, core=core
        )
    finally:
        cores.put(core)
    return [line for line in read_json_lines(workdir / "metrics.jsonl") if "val/mean_f1" in line][-1]


def call_main(*arguments: str, core: int | None = None) -> None:
    """Runs main.py on one core, or on all if None; exits if it fails."""
    command = [sys.executable, "main.py", *arguments]
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    done = subprocess.run(command, preexec_fn=pin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")


def print_table(scores: Mapping[tuple[str, int], Scores], seeds: list[int]) -> None:
    """Prints one row per way of training and one column per seed, with mean and std at the end."""
    table = Table(title="mean F1 (%) on clean validation images")
    for column in ("", *(f"seed {seed}" for seed in seeds), "mean", "std"):
        table.add_column(column, justify="right" if column else "left")
    for name, (kind, score) in ROWS.items():
        values = [100 * scores[kind, seed][score] for seed in seeds]
        std = statistics.stdev(values) if len(values) > 1 else 0.0
        table.add_row(name, *(f"{value:.2f}" for value in (*values, statistics.mean(values), std)))
    console.print(table)


if __name__ == "__main__":
    main()
