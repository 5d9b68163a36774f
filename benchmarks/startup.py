"""Times real processes from start to the first training step, with a cold and a warm compilation cache.

    python -m benchmarks.startup [--config=configs/quickstart.py] [--repeats=2] [-- --config.model.backbone=resnet101]

Runs `main.py --mode=train` until it reports its first step. The cache is in a temporary folder, a new one for each cold
start; the data set is prepared beforehand. Cold and warm starts alternate.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console


def seconds_to_first_step(arguments: list[str], *, workdir: pathlib.Path, cache: pathlib.Path) -> float:
    """Starts training in a new process, stops it after its first step, and returns the seconds until then."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "main.py", *arguments, f"--workdir={workdir}", "--config.training.log_every=1"]
    start = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("step 1 of "):
                seconds = time.perf_counter() - start
                process.kill()
                return seconds
    raise SystemExit(f"training ended before its first step: {' '.join(command)}")


def main() -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--config", default="configs/quickstart.py", help="configuration of the training")
    parser.add_argument("--repeats", type=int, default=2, help="cold and warm starts")
    parser.add_argument("flags", nargs="*", help="for main.py, such as --config.training.batch_size=2, after --")
    flags = parser.parse_args()
    times = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        arguments = [f"--config={flags.config}", f"--config.dataset.data_dir={folder / 'data'}", *flags.flags]
        subprocess.run([sys.executable, "main.py", *arguments, "--mode=prepare"], check=True, stdout=subprocess.DEVNULL)
        for i in range(flags.repeats):
            for kind, seconds in times.items():
                workdir, cache = folder / f"{kind}_{i}", folder / f"cache_{i}"
                seconds.append(seconds_to_first_step(arguments, workdir=workdir, cache=cache))
    cold, warm = (statistics.median(seconds) for seconds in times.values())
    title = " ".join(["start to first step,", flags.config, *flags.flags])
    table = Table("compilation cache", "median s", "of cold", title=title)
    table.add_row("cold", f"{cold:.1f}", "1.00")
    table.add_row("warm", f"{warm:.1f}", f"{warm / cold:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
