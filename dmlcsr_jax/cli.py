"""The command `dmlcsr`: `command.py` reads the command line, `modes.py` does the work."""

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

if TYPE_CHECKING:
    from dmlcsr_jax.command import Command


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command line, by default the program's own; exits with status 1 and one line on stderr if it fails."""
    if argv is None:
        environment.use_huge_pages()  # first, because it restarts the program
    from dmlcsr_jax.command import Help, parse  # imports JAX

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
    except KeyboardInterrupt:
        training = command is not None and command.mode == "train"
        sys.exit("stopped" + "; the same command resumes from the last checkpoint" * training)


def run(command: "Command") -> None:
    """Runs a command. What it needs is imported late, so that --help and a wrong flag answer at once."""
    environment.compute_in_order()
    environment.use_compilation_cache()

    from dmlcsr_jax import hosts, modes
    from dmlcsr_jax.inference.options import Options
    from dmlcsr_jax.models import TestTimeAugmentation

    if command.distributed:
        hosts.initialize(command.distributed)
    config, workdir = command.config, command.workdir or pathlib.Path("portrait")
    output = command.workdir if command.workdir and command.workdir.is_dir() else pathlib.Path()
    augmentation = TestTimeAugmentation(flip=command.flip, scales=command.scales)
    shared = {"weights": command.weights, "augmentation": augmentation}
    actions: dict[str, Callable[[], None]] = {
        "prepare": lambda: modes.prepare(config, clean=command.clean),
        "train": lambda: modes.train(config, workdir),
        "evaluate": lambda: (
            modes.evaluate_label_maps(config, command.predictions, command.output or pathlib.Path("evaluation"))
            if command.predictions
            else modes.evaluate(
                config, workdir, command.output or command.workdir or pathlib.Path("evaluation"), **shared
            )
        ),
        "predict": lambda: modes.predict(
            config,
            workdir,
            command.paths,
            command.output or output / "predictions",
            Options(
                write=command.write,
                remap=command.remap,
                smooth=command.smooth,
                boxes=command.boxes,
                parts=command.parts,
                skip_existing=command.skip_existing,
            ),
            faces=command.faces,
            **({"batch_size": command.batch_size} if command.batch_size else {}),
            **shared,
        ),
        "export": lambda: modes.export(
            config, workdir, command.output or output / "export", formats=command.formats, weights=command.weights
        ),
        "demo": lambda: modes.demo(workdir, command.port, faces=command.faces, **shared),
        "convert": lambda: (
            modes.convert_back(workdir, command.output, command.weights)
            if command.output
            else modes.convert(config, workdir, pathlib.Path(command.paths[0]))
        ),
    }
    actions[command.mode]()


def _exit_at_once(line: str) -> None:
    """Exits with status 1 without waiting for threads, which may be stuck in what failed and would print about it."""
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)
    os._exit(1)
