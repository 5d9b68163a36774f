"""What self-regulation gains where training labels are noisy: runs with and without it, seed by seed.

    python -m benchmarks.label_noise [--seeds 0 1 2] [--folder=runs/label_noise]

Every run is `configs/label_noise.py` with another seed, of initial weights, order, augmentation and label noise; all
kinds take the same number of steps. One kind has the learning rates of the cycles, but no teacher. Each run has a
processor core to itself, and as many go at once as there are cores. The table gives the mean F1 in percent on clean
validation pictures after the last step; no checkpoint is chosen by clean labels. Runs that are done are not repeated;
one that was stopped goes on.
"""

import argparse
import concurrent.futures
import os
import pathlib
import queue
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from dmlcsr_jax.training.logs import read_json_lines

CONFIG = "configs/label_noise.py"
KINDS = {
    "without": ["--config.self_regulation.enabled=False"],
    "cycles": ["--config.self_regulation.self_ensemble=False", "--config.self_regulation.distillation=False"],
    "with": [],
}
# What is scored: kind of run, and whose weights by their name in metrics.jsonl.
ROWS = {
    "without self-regulation": ("without", "val/mean_f1"),
    "the cycles' rates alone": ("cycles", "val/mean_f1"),
    "with it, the teacher": ("with", "val_teacher/mean_f1"),
    "with it, the student": ("with", "val/mean_f1"),
}


def main() -> None:
    """Makes the runs that are missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/label_noise"))
    parser.add_argument("flags", nargs="*", help="for main.py, such as --config.training.epochs=40, after --")
    options = parser.parse_args()
    call("--mode=prepare", f"--config={CONFIG}", *options.flags)  # once, not by all runs at the same time
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    runs = [(kind, seed) for seed in options.seeds for kind in KINDS]
    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
        found = pool.map(lambda run: train_and_score(*run, options.folder, options.flags, cores), runs)
        scores = dict(zip(runs, found, strict=True))
    print_table(scores, options.seeds)


def train_and_score(kind: str, seed: int, folder: pathlib.Path, flags: list[str], cores: queue.Queue) -> dict:
    """The last scores of a run by their names in metrics.jsonl."""
    workdir = folder / f"{kind}_{seed}"
    core = cores.get()
    try:
        call(f"--config={CONFIG}", f"--workdir={workdir}", f"--config.seed={seed}", *KINDS[kind], *flags, core=core)
    finally:
        cores.put(core)
    return [line for line in read_json_lines(workdir / "metrics.jsonl") if "val/mean_f1" in line][-1]


def call(*arguments: str, core: int | None = None) -> None:
    """Runs main.py on one core, or on all; ends this program where it fails."""
    command = [sys.executable, "main.py", *arguments]
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    done = subprocess.run(command, preexec_fn=pin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")


def print_table(scores: dict, seeds: list[int]) -> None:
    """One row a way of training, one column a seed, mean and deviation at the end."""
    table = Table(title="mean F1 (%) on clean validation pictures")
    for column in ("", *(f"seed {seed}" for seed in seeds), "mean", "deviation"):
        table.add_column(column, justify="right" if column else "left")
    for name, (kind, score) in ROWS.items():
        values = [100 * scores[kind, seed][score] for seed in seeds]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        table.add_row(name, *(f"{value:.2f}" for value in (*values, statistics.mean(values), spread)))
    Console().print(table)


if __name__ == "__main__":
    main()
