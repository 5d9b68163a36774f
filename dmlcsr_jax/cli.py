"""The command `dmlcsr`: `command.py` reads the command line, `modes.py` and `parse_modes.py` do the work."""

import contextlib
import io
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from absl import logging

from dmlcsr_jax import environment
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path, as_path, is_remote, reaching

if TYPE_CHECKING:
    import numpy as np

    from dmlcsr_jax.command import Command


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command line, by default the program's own; exits with status 1 and one line on stderr if it fails."""
    if argv is None:
        environment.use_huge_pages()  # first, because it restarts the program
    from dmlcsr_jax.command import Help, parse

    logging.set_verbosity(logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may be anything
    command = None
    try:
        command = parse(sys.argv if argv is None else argv)
        run(command)
    except Help as text:
        with contextlib.suppress(BrokenPipeError):  # as in `dmlcsr --help | head`
            print(text, flush=True)
    except UserError as error:
        _exit_at_once(f"error: {' '.join(str(error).split())}")
    except ModuleNotFoundError as error:  # with requirements-parse.txt alone
        if (error.name or "").startswith("dmlcsr_jax"):
            raise
        _exit_at_once(f"error: this needs the package {error.name}; pip install dmlcsr_jax adds all that are missing")
    except KeyboardInterrupt:
        training = command is not None and command.mode == "train"
        sys.exit("stopped" + "; the same command resumes from the last checkpoint" * training)


def run(command: "Command") -> None:
    """Runs a command. What it needs is imported late, so that --help and a wrong flag answer at once."""
    environment.compute_in_order()
    environment.communicate_early()
    environment.use_compilation_cache()
    host = (0, 1)
    if command.distributed:
        from dmlcsr_jax import hosts

        hosts.initialize(command.distributed)
        host = hosts.own_place()
    if command.mode in ("predict", "demo"):
        _parse(command, host)
    else:
        _run_with_jax(command)


def _parse(command: "Command", host: tuple[int, int]) -> None:
    """Runs predict or demo, of several hosts as one; an engine other than JAX's then needs no JAX."""
    from dmlcsr_jax import parse_modes
    from dmlcsr_jax.inference.options import Options
    from dmlcsr_jax.models import TestTimeAugmentation

    def examples() -> "list[tuple[str, pathlib.Path | np.ndarray]]":
        from dmlcsr_jax import modes

        return modes.example_images(command.config)

    workdir, output = _folders(command)
    parser_options = {
        "faces": command.faces,
        "weights": command.weights,
        "engine": command.engine,
        "precision": command.precision,
        "augmentation": TestTimeAugmentation(flip=command.flip, scales=command.scales),
    }
    if command.mode == "demo":
        parse_modes.demo(workdir, command.port, **parser_options)
    else:
        options = Options(
            write=command.write,
            remap=command.remap,
            smooth=command.smooth,
            boxes=command.boxes,
            parts=command.parts,
            skip_existing=command.skip_existing,
        )
        if command.batch_size:
            parser_options["batch_size"] = command.batch_size
        folder = command.output or (pathlib.Path() if is_remote(output) else output) / "predictions"
        parse_modes.predict(workdir, command.paths, folder, options, examples=examples, host=host, **parser_options)


def _run_with_jax(command: "Command") -> None:
    """Runs any other mode."""
    from dmlcsr_jax import modes
    from dmlcsr_jax.models import TestTimeAugmentation

    config, (workdir, output) = command.config, _folders(command)
    augmentation = TestTimeAugmentation(flip=command.flip, scales=command.scales)
    actions: dict[str, Callable[[], None]] = {
        "prepare": lambda: modes.prepare(config, clean=command.clean),
        "train": lambda: modes.train(config, workdir),
        "evaluate": lambda: (
            modes.evaluate_label_maps(config, command.predictions, command.output or pathlib.Path("evaluation"))
            if command.predictions
            else modes.evaluate(
                config,
                workdir,
                command.output or command.workdir or pathlib.Path("evaluation"),
                weights=command.weights,
                augmentation=augmentation,
            )
        ),
        "export": lambda: modes.export(
            config, workdir, command.output or output / "export", formats=command.formats, weights=command.weights
        ),
        "convert": lambda: (
            modes.convert_back(workdir, command.output, command.weights)
            if command.output
            else modes.convert(config, workdir, as_path(command.paths[0]))
        ),
    }
    actions[command.mode]()


def _folders(command: "Command") -> tuple[Path, Path]:
    """The workdir, and the folder in which results lie unless --output names another."""
    if command.workdir is None:
        return pathlib.Path("portrait"), pathlib.Path()
    with reaching(command.workdir):
        return command.workdir, command.workdir if command.workdir.is_dir() else pathlib.Path()


def _exit_at_once(line: str) -> None:
    """Exits with status 1 without waiting for threads, which may be stuck in what failed and would print about it."""
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)
    os._exit(1)
