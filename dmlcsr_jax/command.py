"""Trains, evaluates and uses DML-CSR face parsing.

  dmlcsr --mode=predict photo.jpg
  dmlcsr --config=quickstart --workdir=runs/quickstart --mode=train
  dmlcsr --workdir=runs/quickstart --mode=evaluate
  dmlcsr --workdir=runs/quickstart --mode=predict photo.jpg folder/

--mode:
  prepare    build the data set of --config (train and evaluate do it themselves if needed); --clean removes it
  train      train into --workdir; the same command resumes a stopped run
  evaluate   score the best checkpoint on config.evaluation.split: a table, WORKDIR/evaluation.json and .html
  predict    parse images, videos, folders and patterns (or examples of the split) into --output
  export     write the best checkpoint as StableHLO (for JAX) and ONNX, with model cards; --formats selects others
  demo       serve a page on this machine to drop images on
  convert    read published PyTorch weights into a new workdir, or with --output=FILE write a workdir's in that format

  dmlcsr --config=published:lapa --workdir=runs/published --mode=convert weights.pth

Without --workdir, evaluate, predict, export and demo use "portrait", the network for photos of real faces that ships
with the package, and write into this folder. A workdir may also be a folder that export wrote as safetensors.

--config is a recipe by name (celebamask_hq, lapa, helen, folder, quickstart, ...) or a file of your own; `:debug`
after its name makes a one-minute trial run. Any field can be set: --config.training.batch_size=8. Evaluate and
predict take the configuration from the workdir. configs/default.py explains all fields. In a clone,
`python main.py` is the same command as `dmlcsr`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from dmlcsr_jax import __version__
from dmlcsr_jax.command_flags import MODES_OF_FLAG, define_flags, describe_flags
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path, as_path
from dmlcsr_jax.recipes import check_fields, read_config
from dmlcsr_jax.types import Box, EngineName, Faces, Precision

# The fields of the configuration that a mode reads, by name or section; a mode that is not listed reads all.
_FIELDS_READ = {
    "prepare": ("dataset", "input.flip_probability"),
    "evaluate": ("dataset", "evaluation.split", "evaluation.batch_size", "evaluation.protocol"),
    "predict": ("dataset", "evaluation.split"),
    "export": ("dataset",),
    "demo": (),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that was read; `main` runs it. The flags' help says what the fields mean."""

    mode: str
    config: ConfigDict
    workdir: Path | None
    clean: bool
    paths: tuple[str, ...]
    output: Path | None
    write: tuple[str, ...]
    parts: tuple[str, ...]
    batch_size: int | None
    skip_existing: bool
    faces: Faces | None
    boxes: tuple[Box, ...]
    remap: str
    smooth: int
    flip: bool
    scales: tuple[float, ...]
    engine: EngineName
    precision: Precision
    port: int
    weights: str | None
    predictions: Path | None
    distributed: str | None
    formats: tuple[str, ...]


class Help(Exception):
    """--help or --version was given, or nothing at all; the message is the answer."""


def parse(argv: Sequence[str]) -> Command:
    """Reads a command line, its first word the program's name, without side effects but reading files.

    Raises:
      UserError: a flag, a recipe or a field is wrong.
      Help: --help or --version was given, or nothing at all.
    """
    arguments = ["--help" if argument == "-h" else argument for argument in argv]
    name, workdir = _take_flag(arguments, "config"), _take_flag(list(arguments), "workdir")
    config = read_config(name, workdir)
    if config is not None:
        check_fields(arguments, config)
    values = define_flags(config or ConfigDict(), arguments)
    try:
        paths = values(arguments)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    given = values.flag_values_dict()
    if given["help"] or len(argv) == 1:
        raise Help(f"{__doc__}\n{describe_flags(values)}")
    if given["version"]:
        raise Help(f"dmlcsr_jax {__version__}")
    command = Command(
        mode=given["mode"],
        config=given["config"],
        workdir=_path(given, "workdir"),
        clean=given["clean"],
        paths=tuple(paths),
        output=_path(given, "output"),
        write=tuple(given["write"]),
        parts=tuple(given["parts"]),
        batch_size=given["batch_size"],
        skip_existing=given["skip_existing"],
        faces=given["faces"],
        boxes=_read_boxes(given["boxes"]),
        remap=given["remap"],
        smooth=given["smooth"],
        flip=given["flip"],
        scales=_read_scales(given["scales"]),
        engine=given["engine"],
        precision=given["precision"],
        port=given["port"],
        weights=given["weights"],
        predictions=_path(given, "predictions"),
        distributed=given["distributed"],
        formats=tuple(given["formats"]),
    )
    _check_flags([flag for flag in MODES_OF_FLAG if values[flag].present], command)
    _check_command(command, name)
    _check_overrides(arguments, command)
    return command


def _path(given: Mapping[str, Any], flag: str) -> Path | None:
    return as_path(given[flag], f"--{flag}") if given[flag] else None


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


def _read_boxes(text: str) -> tuple[Box, ...]:
    try:
        boxes = [tuple(map(float, box.split(","))) for box in text.split(";") if box.strip()]
        return tuple((left, top, right, bottom) for left, top, right, bottom in boxes)
    except ValueError as error:
        raise UserError(f"--boxes={text}: give LEFT,TOP,RIGHT,BOTTOM of each face, separated by semicolons") from error


def _check_flags(given: Sequence[str], command: Command) -> None:
    """Raises UserError if a flag or a file is given that the mode does not read."""
    for flag in given:
        modes = MODES_OF_FLAG[flag]
        if command.mode not in modes:
            raise UserError(f"--{flag} belongs to --mode={' or '.join(modes)}, not to --mode={command.mode}")
    if command.paths and command.mode not in ("predict", "convert"):
        raise UserError(
            f"{command.paths[0]}: --mode={command.mode} takes no files; to parse photos and videos, add --mode=predict"
        )


def _check_command(command: Command, config_name: str | None) -> None:
    """Raises UserError if flags are missing that the mode needs."""
    if command.workdir is None and command.mode in ("train", "convert"):
        raise UserError(f"--mode={command.mode} needs --workdir=DIR")
    if command.mode == "predict" and command.paths and config_name and command.workdir is None:
        raise UserError(f"--config={config_name} has no effect on files; name a trained network with --workdir=DIR")
    alone = command.mode in ("demo", "export") or (command.mode, bool(command.output)) == ("convert", True)
    needs_config = not alone and not (command.mode == "predict" and command.paths)
    if needs_config and not len(command.config):
        if command.mode == "predict":
            raise UserError("--mode=predict needs photos, videos or folders, such as photo.jpg")
        if command.workdir is not None and config_name is None:
            raise UserError(
                f"--workdir={command.workdir} has no config.json; name the folder of a run, or a recipe, such as "
                "--config=quickstart"
            )
        raise UserError("name a configuration, such as --config=quickstart")
    if command.batch_size is not None and command.batch_size < 1:
        raise UserError(f"--batch_size={command.batch_size}: give 1 image or more")
    if command.mode == "convert" and not command.output and len(command.paths) != 1:
        raise UserError(
            f"--mode=convert needs one file of weights, or --output=FILE to write one, not {len(command.paths)} files"
        )


def _check_overrides(arguments: Sequence[str], command: Command) -> None:
    """Raises UserError if a --config.FIELD is given that the mode does not read."""
    read = _FIELDS_READ.get(command.mode)
    if (command.mode == "predict" and command.paths) or (command.mode == "convert" and command.output):
        read = ()
    if read is None:
        return
    for argument in arguments:
        field = argument.partition("=")[0].removeprefix("--config.")
        if argument.startswith("--config.") and not f"{field}.".startswith(tuple(f"{name}." for name in read)):
            uses = f"only {', '.join(read)}" if read else "no field of the configuration"
            raise UserError(
                f"--config.{field} has no effect: {command.mode} reads {uses}, the rest is as in the checkpoint; "
                f"leave it out, or train with it"
            )
