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
  convert    published PyTorch weights into a new workdir, or with --output=FILE the workdir's into such a file

  dmlcsr --config=published:lapa --workdir=runs/published --mode=convert weights.pth

Without --workdir, evaluate, predict, export and demo use "portrait", the network for photos of real faces that ships
with the package, and write into this folder. A workdir may also be a folder that export wrote as safetensors.

--config is a recipe by name (celebamask_hq, lapa, helen, folder, quickstart, ...) or a file of your own; `:debug`
after it makes it a run of a minute. Any field can be set: --config.training.batch_size=8. Evaluate and predict take
the configuration from the workdir. configs/default.py explains all fields. In a clone, `python main.py` is the same
command as `dmlcsr`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from absl import flags
from ml_collections import ConfigDict, config_flags

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path, as_path
from dmlcsr_jax.recipes import check_fields, read_config
from dmlcsr_jax.types import Box, EngineName, Faces, Precision

MODES = ("train", "evaluate", "predict", "export", "demo", "convert", "prepare")
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
    """--help was given; the message is the help."""


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
    _check_command(command)
    _check_overrides(arguments, command)
    return command


def _path(given: Mapping[str, Any], flag: str) -> Path | None:
    return as_path(given[flag], f"--{flag}") if given[flag] else None


def _define_flags(config: ConfigDict, arguments: list[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", config, "The configuration: a recipe or FILE.py.", flag_values=values, sys_argv=arguments
    )

    def define(kind: Callable[..., object], name: str, default: object, *details: object) -> None:
        kind(name, default, *details, flag_values=values)

    define(flags.DEFINE_bool, "help", False, "Show this help.")
    define(flags.DEFINE_enum, "mode", "train", MODES, "What to do.")
    define(
        flags.DEFINE_string,
        "workdir",
        None,
        "Folder of the run, local or gs://BUCKET/NAME: configuration, checkpoints, logs, images.",
    )
    define(flags.DEFINE_bool, "clean", False, "prepare: remove the prepared copies of the data instead; not the data.")
    define(
        flags.DEFINE_string,
        "output",
        None,
        "What predict (a folder; WORKDIR/predictions), export (WORKDIR/export), evaluate (WORKDIR, or ./evaluation "
        "without one) or convert (a file) writes.",
    )
    define(
        flags.DEFINE_list,
        "write",
        "labels,overlays",
        "What predict writes: labels, overlays, masks (one per part), cutout (transparent around parts), sheet, json.",
    )
    define(flags.DEFINE_list, "parts", "", "predict: the parts in masks and cut-outs, such as hair,hat; all.")
    define(flags.DEFINE_integer, "batch_size", None, "predict: images per call of the network; 4.")
    define(flags.DEFINE_bool, "skip_existing", False, "predict: leave out inputs whose results are there already.")
    define(
        flags.DEFINE_enum,
        "faces",
        None,
        get_args(Faces),
        "predict, demo: whole (each image is one face), detect (a detector finds them) or auto (the detector if there "
        "is one, else the network itself); auto for portrait, else whole.",
    )
    define(flags.DEFINE_string, "boxes", "", "predict: the faces of one image, LEFT,TOP,RIGHT,BOTTOM;... in pixels.")
    define(flags.DEFINE_string, "remap", "", "predict: the data set whose classes are written; the checkpoint's own.")
    define(flags.DEFINE_integer, "smooth", 1, "predict: frames of a video that vote on each pixel, an odd number.")
    define(flags.DEFINE_bool, "flip", False, "predict, evaluate: average with the mirror image.")
    define(flags.DEFINE_list, "scales", "1", "predict, evaluate: average over these sizes, such as 0.75,1,1.25.")
    define(
        flags.DEFINE_enum,
        "engine",
        "auto",
        get_args(EngineName),
        "predict, demo: what runs the network; auto: JAX on an accelerator, else the fastest that is installed.",
    )
    define(
        flags.DEFINE_enum,
        "precision",
        "float32",
        get_args(Precision),
        "predict, demo: what the network computes in; bfloat16 needs OpenVINO on a processor that has it, or an "
        "accelerator.",
    )
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
        "predictions",
        None,
        "evaluate: a folder of label maps, NAME.png for each image of the split, to score instead of a network.",
    )
    define(
        flags.DEFINE_string,
        "distributed",
        None,
        "To join several processes: auto on a cluster, else HOST:PORT,COUNT,INDEX. See docs/hosts.md.",
    )
    define(flags.DEFINE_list, "formats", "stablehlo,onnx", "What export writes: stablehlo, onnx, safetensors, web.")
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


def _read_boxes(text: str) -> tuple[Box, ...]:
    try:
        boxes = [tuple(map(float, box.split(","))) for box in text.split(";") if box.strip()]
        return tuple((left, top, right, bottom) for left, top, right, bottom in boxes)
    except ValueError as error:
        raise UserError(f"--boxes={text}: give LEFT,TOP,RIGHT,BOTTOM of each face, separated by semicolons") from error


def _check_command(command: Command) -> None:
    """Raises UserError if flags are missing that the mode needs."""
    if command.workdir is None and command.mode in ("train", "convert"):
        raise UserError(f"--mode={command.mode} needs --workdir=DIR")
    if command.clean and command.mode != "prepare":
        raise UserError(f"--clean belongs to --mode=prepare, not to --mode={command.mode}")
    alone = command.mode in ("demo", "export") or (command.mode, bool(command.output)) == ("convert", True)
    needs_config = not alone and not (command.mode == "predict" and command.paths)
    if needs_config and not len(command.config):
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
