"""Trains a recipe in several ways ("arms") and for several seeds, and keeps the scores of every finished run.

On CPUs each run uses one core at the lowest priority, and as many run at once as there are cores; on accelerators one
runs after the other. Finished runs are lines of a file (`records.py`) and are not repeated; stopped ones resume.
"""

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from benchmarks import evidence, records, workload
from benchmarks.side_by_side import console
from dmlcsr_jax.files import read_json_lines

Arms = Mapping[str, Sequence[str]]  # name -> flags of main.py
_PLACES = ("--config.dataset.path=", "--config.dataset.data_dir=")  # which no table shows
_writing = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared.

    Attributes:
      module: the benchmark's name.
      recipe: the configuration of all runs.
      arms: the ways of training; the first is the one that the others are compared with.
      flags: of main.py, for all runs.
      evidence: the file of the finished runs.
      folder: of all workdirs.
    """

    module: str
    recipe: str
    arms: Arms
    flags: Sequence[str]
    evidence: pathlib.Path
    folder: pathlib.Path

    def record(self, arm: str, seed: int) -> dict[str, object]:
        """What is known of a run before it starts."""
        data, configuration = records.describe(self.recipe, self.flags)
        flags = [_without_folder(flag) for flag in self.flags if not flag.startswith(_PLACES)]
        arguments = ["python", "-m", f"benchmarks.{self.module}", f"--config={self.recipe}"]
        return {
            "arm": arm,
            "arm_flags": list(self.arms[arm]),
            "baseline": next(iter(self.arms)),
            "seed": seed,
            "command": " ".join([*arguments, *(["--", *flags] if flags else [])]),
            "data": data,
            "configuration": configuration,
        }

    def workdir(self, run: records.Record) -> pathlib.Path:
        """The folder of a run from `record`; a run of another configuration never resumes in it."""
        what = json.dumps([run["configuration"], run["arm_flags"], run["data"]], sort_keys=True)
        name = f"{run['arm']}_{run['seed']}_{hashlib.sha256(what.encode()).hexdigest()[:8]}"
        return self.folder / name.replace(" ", "_")


def _without_folder(flag: str) -> str:
    """`--config.init_from=FOLDER/NAME` becomes `--config.init_from=NAME`; other flags stay."""
    name, _, value = flag.partition("=")
    return f"{name}={pathlib.Path(value).name}" if name == "--config.init_from" else flag


def main(doc: str | None, module: str, recipe: str, arms: Arms, *, seeds: int) -> None:
    """Trains the runs that are missing and prints the tables.

    Args:
      doc: the benchmark's docstring.
      module: its name.
      recipe: its configuration, unless --config names another.
      arms: its ways of training.
      seeds: how many, unless --seeds names others.
    """
    parser = workload.argument_parser(doc)
    parser.add_argument("--config", default=recipe, help="the recipe of all runs")
    parser.add_argument("--arms", nargs="+", choices=list(arms), default=list(arms), help="which ways of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(seeds), help="one run of each arm per seed")
    parser.add_argument("--evidence", type=pathlib.Path, default=evidence.FOLDER / f"{module}.jsonl", help="scores")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs", module), help="of all workdirs")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--against", choices=list(arms), default=next(iter(arms)), help="the arm to compare with")
    parser.add_argument("flags", nargs="*", help="for main.py, such as --config.training.epochs=40, after --")
    options = parser.parse_args()
    unclear = [flag for flag in options.flags if not flag.startswith("--config.") or "=" not in flag]
    if unclear:
        parser.error(f"{unclear[0]}: after -- write --config.NAME=VALUE")
    study = Study(
        module=module,
        recipe=options.config,
        arms=arms,
        flags=options.flags,
        evidence=options.evidence,
        folder=options.folder,
    )
    if not options.table:
        train_missing(study, options)
    text = evidence.tables(read_json_lines(options.evidence), options.against)
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def train_missing(study: Study, options: argparse.Namespace) -> None:
    """Trains the chosen runs that the evidence lacks, each seed's together, so that pairs are complete early."""
    done = read_json_lines(study.evidence)
    runs = [study.record(arm, seed) for seed in options.seeds for arm in options.arms]
    missing = [run for run in runs if not any(records.is_same_run(run, other) for other in done)]
    if not missing:
        return
    data = [flag for flag in study.flags if flag.startswith("--config.dataset.")]
    call_main("--mode=prepare", f"--config={study.recipe}", *data)  # once, before the runs that share it
    cores: queue.Queue[int | None] = queue.Queue()
    for core in free_cores():
        cores.put(core)
    with concurrent.futures.ThreadPoolExecutor(cores.qsize()) as pool:
        list(pool.map(lambda run: train(study, run, cores), missing))


def free_cores() -> list[int | None]:
    """The core of each run that runs at once; a single None, all cores, if there is an accelerator."""
    # Another process asks, because this one would take the accelerator's memory.
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    backend = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]
    return [*sorted(os.sched_getaffinity(0))] if backend == "cpu" else [None]


def train(study: Study, run: dict[str, object], cores: "queue.Queue[int | None]") -> None:
    """Trains a run on a free core, and adds it to the evidence."""
    workdir = study.workdir(run)
    core, start, commit = cores.get(), time.monotonic(), records.commit()
    try:
        flags = [*study.flags, *study.arms[str(run["arm"])], f"--config.seed={run['seed']}"]
        call_main(f"--config={study.recipe}", f"--workdir={workdir}", *flags, core=core)
    finally:
        cores.put(core)
    result = {"commit": commit, "seconds": round(time.monotonic() - start), "curve": records.read_curve(workdir)}
    with _writing:
        records.append(study.evidence, run | result)
    last = result["curve"][-1]
    console.print(f"{run['arm']}, seed {run['seed']}: {last}, {result['seconds']} s", highlight=False)


def call_main(*arguments: str, core: int | None = None) -> None:
    """Runs main.py at the lowest priority, on one core or on all if None; exits if it fails or is stopped."""
    command = [sys.executable, "main.py", *arguments]

    def yield_to_others() -> None:
        os.nice(19)
        if core is not None:
            os.sched_setaffinity(0, {core})

    done = subprocess.run(
        command, preexec_fn=yield_to_others, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode or "stopped by SIGTERM" in done.stdout:  # which is a success for main.py
        sys.exit(f"{' '.join(command)} failed or was stopped:\n{done.stdout}")
