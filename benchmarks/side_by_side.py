"""What the benchmarks share: sides that run by turns, their medians, peak memory, and the table of them."""

import concurrent.futures
import contextlib
import ctypes
import gc
import multiprocessing
import os
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table

from dmlcsr_jax import environment

environment.compute_in_order()  # as main.py does
os.environ.setdefault("GLIBC_TUNABLES", environment.HUGE_PAGES)  # for every side's own process
# A GPU is shared with PyTorch here: JAX must not take most of it at once.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

OURS = "dmlcsr_jax"  # what the names of our sides begin with
REST = 1.0  # seconds between two runs, in which the other side's threads stop spinning; 0.2 costs the next one a tenth
Run = Callable[[], Any]  # does the work once and waits until it is done

console = Console(width=120)


class Results(NamedTuple):
    """What `take_turns` finds.

    Attributes:
      seconds: side -> median.
      first: side -> what its first run returned.
      absent: side that could not be made -> why.
    """

    seconds: dict[str, float]
    first: dict[str, Any]
    absent: dict[str, str]


def take_turns(makers: Mapping[str, Callable[[], Run]], repeats: int) -> Results:
    """Times sides against each other: all meet the same state of the machine.

    Each has a process of its own, as its users would run it. Each is made and run once first, which compiles it; of the
    others' sides, one that fails there is absent. A turn is two runs, of which the second counts, as in a loop of many:
    the first one after another side's may have to wait for memory that a virtual machine has given back to its host.
    `makers` and what the runs return must be picklable.
    """
    timers, first, absent = {}, {}, {}
    with contextlib.ExitStack() as processes:
        for name, make in makers.items():
            process = processes.enter_context(_own_process())
            result, reason = process.submit(_make, make).result()
            if reason is None:
                first[name], timers[name] = result, lambda process=process: process.submit(_timed_there).result()
            elif name.startswith(OURS):
                raise RuntimeError(reason)
            else:
                absent[name] = reason
        return Results(medians(timers, repeats), first, absent)


def torch_side(name: str, *arguments: Any, **fields: Any) -> Run:
    """A side of `torch_sides` by name; imports it only when it is made."""
    from benchmarks import torch_sides

    return getattr(torch_sides, name)(*arguments, **fields)


def medians(timers: Mapping[Any, Callable[[], float]], repeats: int, rest: float = REST) -> dict[Any, float]:
    """Median seconds of runs that take turns, each after a rest of that many seconds."""
    times = {name: [] for name in timers}
    for _ in range(repeats):
        for name, timer in timers.items():
            time.sleep(rest)
            times[name].append(timer())
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def timed(run: Run) -> float:
    """The seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _own_process() -> concurrent.futures.ProcessPoolExecutor:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir or ""
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


_made: dict[str, Run] = {}  # the run of this process


def _make(make: Callable[[], Run]) -> tuple[Any, str | None]:
    """What a side's first run returns, or why there is none."""
    try:
        _made["run"] = make()
        return _made["run"](), None
    except ImportError as error:
        return None, f"not installed: {error.name}"
    except RuntimeError as error:  # torch.compile without a compiler of C++
        return None, f"not available: {str(error).strip().splitlines()[0][:80]}"


def _timed_there() -> float:
    _made["run"]()
    return timed(_made["run"])


def print_table(title: str, results: Results, columns: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Prints medians and each one's ratio to ours; `columns`: heading -> side -> text."""
    columns = columns or {}
    table = Table(title=title)
    for heading in ("", "median s", "times ours", *columns):
        table.add_column(heading, justify="right" if heading else "left")
    ours = results.seconds[OURS]
    for name, seconds in results.seconds.items():
        more = (texts.get(name, "") for texts in columns.values())
        table.add_row(name, f"{seconds:.4g}", f"{seconds / ours:.2f}", *more)
    for name, reason in results.absent.items():
        table.add_row(name, reason)
    peers = [seconds for name, seconds in results.seconds.items() if not name.startswith(OURS)]
    if peers:
        table.caption = f"the fastest of the others takes {min(peers) / ours:.2f} times as long as ours"
    console.print(table)


def relative_difference(ours: Any, theirs: Any) -> float:
    """Largest difference of two arrays, relative to the second's largest value."""
    return float(abs(ours - theirs).max() / abs(theirs).max())


def peak_memory(make: Callable[[], Run]) -> int:
    """Bytes that a side takes at its highest, in a process of its own. `make` and what it holds must be picklable.

    On a CPU it is the process's highest resident memory in the second and third run, less what it held before `make`:
    neither libraries nor what making and compiling left behind count, but all that a run needs does.
    """
    with _own_process() as process:
        return process.submit(_peak_memory, make).result()


def _peak_memory(make: Callable[[], Run]) -> int:
    jax.devices()
    with contextlib.suppress(ImportError):
        import benchmarks.torch_sides  # noqa: F401
    before = _resident_bytes("VmRSS")
    run = make()
    run()
    _give_back()
    for _ in range(2):
        run()
    on_device = getattr(run, "device_peak_bytes", lambda: None)()
    return on_device or _resident_bytes("VmHWM") - before


def _give_back() -> None:
    """Returns what is free to the system, and forgets how high the memory has been (Linux)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def _resident_bytes(kind: str) -> int:
    """Resident memory of this process: "VmRSS" now, "VmHWM" at its highest."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{kind}:\s+(\d+) kB", status)[1]) * 1024
