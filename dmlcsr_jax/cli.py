"""Trains, evaluates and uses DML-CSR face parsing.

  dmlcsr --config=quickstart --workdir=runs/quickstart --mode=train
  dmlcsr --workdir=runs/quickstart --mode=evaluate
  dmlcsr --workdir=runs/quickstart --mode=predict photo.jpg folder/

--mode:
  prepare    build the data set of --config (train and evaluate do it themselves if needed)
  train      train into --workdir; the same command resumes a stopped run
  evaluate   score the best checkpoint on config.evaluation.split: a table, WORKDIR/evaluation.json and .html
  predict    parse images, videos, folders and patterns (or examples of the split) into --output
  export     write the best checkpoint as StableHLO (for JAX) and ONNX, with model cards; --formats selects one
  demo       serve a page on this machine to drop images on
  convert    published PyTorch weights into a new workdir, or with --output=FILE the workdir's into such a file

  dmlcsr --config=published:lapa --workdir=runs/published --mode=convert weights.pth

--config is a recipe by name (celebamask_hq, lapa, helen, folder, quickstart, ...) or a file of your own; `:debug`
after it makes it a run of a minute. Any field can be set: --config.training.batch_size=8. Evaluate and predict take
the configuration from the workdir. configs/default.py explains all fields. In a clone, `python main.py` is the same
command as `dmlcsr`.
"""

import dataclasses
import difflib
import os
import pathlib
import runpy
import sys
from collections.abc import Callable, Sequence

from absl import flags, logging
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, config_flags

from dmlcsr_jax.errors import UserError

RECIPES = pathlib.Path(__file__).with_name("configs")
MODES = ("train", "evaluate", "predict", "export", "demo", "convert", "prepare")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that was read; `main` runs it. The flags' help says what the fields mean."""

    mode: str
    config: ConfigDict
    workdir: pathlib.Path | None
    paths: tuple[str, ...]
    output: pathlib.Path | None
    write: tuple[str, ...]
    faces: str
    remap: str
    smooth: int
    flip: bool
    scales: tuple[float, ...]
    port: int
    weights: str | None
    distributed: str | None
    formats: tuple[str, ...]


class Help(Exception):
    """--help was given; the message is the help."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command line and exits with status 1 and one line on stderr if it fails."""
    logging.set_verbosity(logging.WARNING)
    command = None
    try:
        command = parse(sys.argv if argv is None else argv)
        run(command)
    except Help as text:
        print(text)
    except UserError as error:
        _exit_at_once(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        training = command is not None and command.mode == "train"
        sys.exit("stopped" + "; the same command resumes from the last checkpoint" * training)


def run(command: Command) -> None:
    """Runs a command; imports JAX late, so that --help and a wrong flag answer at once."""
    from dmlcsr_jax import environment

    environment.use_huge_pages()
    environment.compute_in_order()
    environment.use_compilation_cache()

    from dmlcsr_jax import hosts, modes
    from dmlcsr_jax.inference.predict import Options
    from dmlcsr_jax.models import TestTimeAugmentation

    if command.distributed:
        hosts.initialize(command.distributed)
    config, workdir = command.config, command.workdir or pathlib.Path()
    augmentation = TestTimeAugmentation(flip=command.flip, scales=command.scales)
    shared = {"weights": command.weights, "augmentation": augmentation}
    actions: dict[str, Callable[[], None]] = {
        "prepare": lambda: modes.prepare(config),
        "train": lambda: modes.train(config, workdir),
        "evaluate": lambda: modes.evaluate(config, workdir, **shared),
        "predict": lambda: modes.predict(
            config,
            workdir,
            command.paths,
            command.output or workdir / "predictions",
            Options(command.write, command.remap, command.smooth),
            faces=command.faces,
            **shared,
        ),
        "export": lambda: modes.export(
            config, workdir, command.output or workdir / "export", formats=command.formats, weights=command.weights
        ),
        "demo": lambda: modes.demo(workdir, command.port, faces=command.faces, **shared),
        "convert": lambda: (
            modes.convert_back(workdir, command.output, command.weights)
            if command.output
            else modes.convert(config, workdir, pathlib.Path(command.paths[0]))
        ),
    }
    actions[command.mode]()


def parse(argv: Sequence[str]) -> Command:
    """Reads a command line, its first word the program's name, without side effects but reading files.

    Raises:
      UserError: a flag, a recipe or a field is wrong.
      Help: --help was given.
    """
    arguments = list(argv)
    name, workdir = _take_flag(arguments, "config"), _take_flag(list(arguments), "workdir")
    config = read_config(name, workdir)
    if config is not None:
        check_fields(arguments, config)
    values = _define_flags(config or ConfigDict(), arguments)
    try:
        paths = values(arguments)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    given = values.flag_values_dict()
    if given["help"]:
        raise Help(f"{__doc__}\n{_describe_flags(values)}")
    command = Command(
        mode=given["mode"],
        config=given["config"],
        workdir=pathlib.Path(given["workdir"]) if given["workdir"] else None,
        paths=tuple(paths),
        output=pathlib.Path(given["output"]) if given["output"] else None,
        write=tuple(given["write"]),
        faces=given["faces"],
        remap=given["remap"],
        smooth=given["smooth"],
        flip=given["flip"],
        scales=_read_scales(given["scales"]),
        port=given["port"],
        weights=given["weights"],
        distributed=given["distributed"],
        formats=tuple(given["formats"]),
    )
    _check_command(command)
    return command


def read_config(name: str | None, workdir: str | None) -> ConfigDict | None:
    """The configuration NAME or FILE.py, either with `:argument`, or else of the workdir's config.json, or else none.

    Fields that an older config.json lacks take their defaults.

    Raises:
      UserError: it cannot be read.
    """
    if name is None:
        return _read_workdir_config(pathlib.Path(workdir, "config.json")) if workdir else None
    path = find_recipe(name.partition(":")[0])
    argument = name.partition(":")[2]
    try:
        return runpy.run_path(str(path))["get_config"](*([argument] if argument else []))
    except Exception as error:  # whatever a user's own file may do
        raise UserError(f"--config={name}: {type(error).__name__}: {error}") from error


def find_recipe(name: str) -> pathlib.Path:
    """The file of a recipe: `name` itself, or the recipe of that name; UserError lists the recipes."""
    path, recipe = pathlib.Path(name), RECIPES / f"{name}.py"
    if path.is_file():
        return path
    if pathlib.Path(name).name == name and recipe.is_file():
        return recipe
    names = ", ".join(sorted(file.stem for file in RECIPES.glob("*.py")))
    raise UserError(f"--config={name}: no such file or recipe; the recipes are {names}")


def check_fields(argv: Sequence[str], config: ConfigDict) -> None:
    """Refuses --config.FIELD that the configuration does not have, naming the nearest one.

    Raises:
      UserError: there is no such field, or it is a section.
    """
    fields = list(flatten_dict(config.to_dict(), sep="."))
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--config.")
        if not argument.startswith("--config.") or name in fields:
            continue
        below = [field for field in fields if field.startswith(f"{name}.")]
        if below:
            raise UserError(f"--config.{name} is a section; set one of its fields: {', '.join(below)}")
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0)[0]
        raise UserError(
            f"--config.{name}: there is no such field; did you mean --config.{near}? All are in configs/default.py"
        )


def _read_workdir_config(path: pathlib.Path) -> ConfigDict | None:
    if not path.exists():
        return None
    from dmlcsr_jax.training.workdir import read_config as read_fields

    try:
        config = runpy.run_path(str(RECIPES / "default.py"))["get_config"]()
        config.update(read_fields(path))
        return config
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a configuration ({error}); name one with --config=FILE") from error


def _define_flags(config: ConfigDict, arguments: list[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", config, "The configuration: a recipe or FILE.py.", flag_values=values, sys_argv=arguments
    )

    def define(kind: Callable[..., object], name: str, default: object, *details: object) -> None:
        kind(name, default, *details, flag_values=values)

    define(flags.DEFINE_bool, "help", False, "Show this help.")
    define(flags.DEFINE_enum, "mode", "train", MODES, "What to do.")
    define(flags.DEFINE_string, "workdir", None, "Folder of the run: configuration, checkpoints, logs, images.")
    define(
        flags.DEFINE_string,
        "output",
        None,
        "What predict (a folder; WORKDIR/predictions), export (WORKDIR/export) or convert (a file) writes.",
    )
    define(flags.DEFINE_list, "write", "labels,overlays", "What predict writes: labels, overlays, sheet, json.")
    define(
        flags.DEFINE_enum, "faces", "whole", ("whole", "detect"), "predict, demo: each image is a face, or find them."
    )
    define(flags.DEFINE_string, "remap", "", "predict: the data set whose classes are written; the checkpoint's own.")
    define(flags.DEFINE_integer, "smooth", 1, "predict: frames of a video that vote on each pixel, an odd number.")
    define(flags.DEFINE_bool, "flip", False, "predict, evaluate: average with the mirror image.")
    define(flags.DEFINE_list, "scales", "1", "predict, evaluate: average over these sizes, such as 0.75,1,1.25.")
    define(flags.DEFINE_integer, "port", 7860, "demo: where the page is, http://127.0.0.1:PORT.")
    define(
        flags.DEFINE_enum,
        "weights",
        None,
        ("student", "teacher"),
        "Whose weights; the teacher's if there is one.",
    )
    define(
        flags.DEFINE_string,
        "distributed",
        None,
        "To join several processes: auto on a cluster, else HOST:PORT,COUNT,INDEX. See docs/hosts.md.",
    )
    define(flags.DEFINE_list, "formats", "stablehlo,onnx", "What export writes; ONNX needs the extra [onnx].")
    return values


def _describe_flags(values: flags.FlagValues) -> str:
    own = [values[name] for name in values if not name.startswith("config") and name != "help"]
    return "\n".join(f"--{flag.name}: {flag.help}" for flag in own)


def _take_flag(arguments: list[str], name: str) -> str | None:
    """Takes `--name=value` or `--name value` out of the arguments; None if it is not there."""
    for i, argument in enumerate(arguments):
        if argument.startswith(f"--{name}="):
            return arguments.pop(i).partition("=")[2]
        if argument == f"--{name}" and i + 1 < len(arguments):
            arguments.pop(i)
            return arguments.pop(i)
    return None


def _read_scales(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, texts))
    except ValueError as error:
        raise UserError(f"--scales={','.join(texts)}: give numbers, such as 0.75,1,1.25") from error


def _check_command(command: Command) -> None:
    """Raises UserError if flags are missing that the mode needs."""
    if command.workdir is None and command.mode != "prepare":
        raise UserError(f"--mode={command.mode} needs --workdir=DIR")
    needs_config = not (command.mode == "demo" or (command.mode == "predict" and command.paths))
    if needs_config and not len(command.config):
        raise UserError("name a configuration, such as --config=quickstart")
    if command.mode == "convert" and not command.output and len(command.paths) != 1:
        raise UserError(
            f"--mode=convert needs one file of weights, or --output=FILE to write one, not {len(command.paths)} files"
        )


def _exit_at_once(line: str) -> None:
    """Exits with status 1 without waiting for threads, which may be stuck in what failed and would print about it."""
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)
    os._exit(1)
