"""Compares implementations side by side: runs in turns, medians, peak memory and the table of results."""

import concurrent.futures
import contextlib
import ctypes
import gc
import importlib
import multiprocessing
import os
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from dmlcsr_jax import environment

OURS = "dmlcsr_jax"  # the names of our own sides start with it
REST = 1.0  # seconds between two runs, in which the other side's threads stop spinning; 0.2 slows the next by a tenth
TURN = 0.1  # seconds of timed runs, at least one
Run = Callable[[], Any]  # does the work once and waits until it is done
Name = TypeVar("Name", bound=Hashable)

console = Console(width=120)


class Results(NamedTuple):
    """The results of `take_turns`.

    Attributes:
      seconds: side -> median.
      first: side -> what its first run returned.
      absent: side that could not be created -> reason.
    """

    seconds: dict[str, float]
    first: dict[str, Any]
    absent: dict[str, str]


def set_environment() -> None:
    """Sets the environment of this process and of all sides. Call it before JAX computes anything."""
    environment.compute_in_order()  # as main.py does
    environment.communicate_early()
    os.environ.setdefault("GLIBC_TUNABLES", environment.HUGE_PAGES)  # for every side's own process
    # JAX and PyTorch share a GPU here, so JAX must not allocate most of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def take_turns(makers: Mapping[str, Callable[[], Run]], repeats: int) -> Results:
    """Times several sides in turns, so that all of them meet the same state of the machine.

    Each side has its own process, as its users would run it. It is created and run once before the timing, which
    compiles it. Another side than ours that fails there is reported as absent. The first run of a turn does not count,
    as in a long loop: after another side's turn it may have to wait for memory that a virtual machine returned to its
    host. Then a turn is one run, or the median of those that fit a tenth of a second. On an accelerator each side has
    all its turns before the next one is created, because the memory may not hold them all.

    Args:
      makers: side -> function that creates its run; the functions and what the runs return must be picklable.
      repeats: turns per side.

    Raises:
      RuntimeError: one of our own sides failed.
    """
    if jax.default_backend() == "cpu":
        return _take_turns(makers, repeats)
    results = Results({}, {}, {})
    for name, make in makers.items():
        for column, own in zip(results, _take_turns({name: make}, repeats), strict=True):
            column.update(own)
    return results


def _take_turns(makers: Mapping[str, Callable[[], Run]], repeats: int) -> Results:
    timers, first, absent = {}, {}, {}
    with contextlib.ExitStack() as processes:
        for name, make in makers.items():
            process = processes.enter_context(_own_process())
            result, reason = process.submit(_make, make).result()
            if reason is None:
                first[name], timers[name] = result, lambda process=process: process.submit(_time_later_runs).result()
            elif name.startswith(OURS):
                raise RuntimeError(reason)
            else:
                absent[name] = reason
        return Results(medians(timers, repeats), first, absent)


def medians(timers: Mapping[Name, Callable[[], float]], repeats: int, rest: float = REST) -> dict[Name, float]:
    """Median seconds per timer; the timers run in turns, each after `rest` seconds."""
    times = {name: [] for name in timers}
    for _ in range(repeats):
        for name, timer in timers.items():
            time.sleep(rest)
            times[name].append(timer())
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def timed(run: Run) -> float:
    """The seconds that one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def print_table(title: str, results: Results, columns: Mapping[str, Mapping[str, str]]) -> None:
    """Prints medians and their ratios to ours; `columns` maps heading -> side -> text."""
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
        table.caption = f"the fastest peer takes {min(peers) / ours:.2f} times as long as ours"
    console.print(table)


def images_per_second(results: Results, images: int) -> dict[str, dict[str, str]]:
    """A column for `print_table`, for runs over this many images."""
    return {"images/s": {name: f"{images / seconds:.3g}" for name, seconds in results.seconds.items()}}


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference between two arrays, relative to the second array's largest value."""
    return float(abs(ours - theirs).max() / abs(theirs).max())


def peak_memory(make: Callable[[], Run], *, preload: str) -> int:
    """The most bytes that a side needs, measured in its own process.

    On a CPU this is the highest resident memory of the process in the second and third run, minus what it held before
    `make`: memory of libraries, creation and compilation does not count, but everything that a run needs does.

    Args:
      make: creates the run; it must be picklable.
      preload: module whose import loads the libraries of all sides, if they are installed.
    """
    with _own_process() as process:
        return process.submit(_peak_memory, make, preload).result()


def _own_process() -> concurrent.futures.ProcessPoolExecutor:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = jax.config.values["jax_compilation_cache_dir"] or ""
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


_made: dict[str, Run] = {}  # the run of this process


def _make(make: Callable[[], Run]) -> tuple[Any, str | None]:
    """Creates this process's run; returns the result of the first run, or the reason why it failed."""
    try:
        _made["run"] = make()
        return _made["run"](), None
    except ImportError as error:
        return None, f"not installed: {error.name}"
    except RuntimeError as error:  # torch.compile without a C++ compiler
        return None, f"not available: {str(error).strip().splitlines()[0][:80]}"


def _time_later_runs() -> float:
    _made["run"]()
    times = [timed(_made["run"])]
    while sum(times) < TURN:
        times.append(timed(_made["run"]))
    return statistics.median(times)


def _peak_memory(make: Callable[[], Run], preload: str) -> int:
    jax.devices()
    with contextlib.suppress(ImportError):
        importlib.import_module(preload)
    before = _resident_bytes("VmRSS")
    run = make()
    run()
    _release_memory()
    for _ in range(2):
        run()
    on_device = getattr(run, "device_peak_bytes", lambda: None)()
    return on_device or _resident_bytes("VmHWM") - before


def _release_memory() -> None:
    """Returns free memory to the system and resets the peak of the resident memory (Linux)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def _resident_bytes(kind: str) -> int:
    """Resident memory of this process: "VmRSS" is the current value, "VmHWM" the peak."""
    status = pathlib.Path("/proc/self/status").read_text()
    found = re.search(rf"{kind}:\s+(\d+) kB", status)
    assert found, f"/proc/self/status has no {kind}"
    return int(found[1]) * 1024
