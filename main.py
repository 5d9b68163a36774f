"""Trains, evaluates and uses DML-CSR face parsing.

  python main.py --config=configs/quickstart.py --workdir=runs/quickstart --mode=train
  python main.py --workdir=runs/quickstart --mode=evaluate
  python main.py --workdir=runs/quickstart --mode=predict photo.jpg folder/

--mode:
  prepare    build the data set of --config (train and evaluate do it themselves if need be)
  train      train into --workdir; the same command goes on where a stopped run was
  evaluate   score the best checkpoint on config.evaluation.split: a table, WORKDIR/evaluation.json and .html
  predict    parse the pictures, videos, folders and patterns named (or examples of the split) into --output
  export     write the best checkpoint as StableHLO (for JAX) and ONNX, with model cards; --formats names one of them
  demo       serve a page on this machine to drop pictures on
  convert    published PyTorch weights into a new workdir, or with --output=FILE the workdir's into such a file

  python main.py --config=configs/published.py:lapa --workdir=runs/published --mode=convert weights.pth

Any field of the configuration can be given: --config.training.batch_size=8. Evaluate and predict take the
configuration from the workdir. All fields, with what they mean: configs/default.py.
"""

import difflib
import json
import os
import pathlib
import runpy
import sys
from collections.abc import Iterator

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

DEFAULT_CONFIG = pathlib.Path(__file__).with_name("configs") / "default.py"
MODES = ("train", "evaluate", "predict", "export", "demo", "convert", "prepare")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: configuration, checkpoints, logs, pictures.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "What predict (a folder; WORKDIR/predictions), export (WORKDIR/export) or convert (a file) writes."
)
_WRITE = flags.DEFINE_list("write", "labels,overlays", "What predict writes: any of labels, overlays, sheet, json.")
_FACES = flags.DEFINE_enum("faces", "whole", ("whole", "detect"), "predict, demo: a picture is a face, or find them.")
_REMAP = flags.DEFINE_string("remap", "", "predict: the data set whose classes are written; the checkpoint's own.")
_SMOOTH = flags.DEFINE_integer("smooth", 1, "predict: frames of a video that vote on each pixel, an odd number.")
_FLIP = flags.DEFINE_bool("flip", False, "predict, evaluate: average with the mirrored picture.")
_SCALES = flags.DEFINE_list("scales", "1", "predict, evaluate: average over these sizes, such as 0.75,1,1.25.")
_PORT = flags.DEFINE_integer("port", 7860, "demo: where the page is, http://127.0.0.1:PORT.")
_WEIGHTS = flags.DEFINE_enum(
    "weights", None, ("student", "teacher"), "Whose weights are used; the teacher's where there is one."
)
_DISTRIBUTED = flags.DEFINE_string(
    "distributed", None, "To join several processes: auto on a cluster, else HOST:PORT,COUNT,INDEX. See docs/hosts.md."
)
_FORMATS = flags.DEFINE_list("formats", "stablehlo,onnx", "What export writes; ONNX needs pip install '.[onnx]'.")


def main(argv: list[str]) -> None:
    """Runs the mode; imports late, so that --help and a wrong flag answer at once."""
    from dmlcsr_jax import environment

    environment.use_huge_pages()
    environment.compute_in_order()
    import jax

    from dmlcsr_jax import app as modes

    if not jax.config.jax_compilation_cache_dir:  # else $JAX_COMPILATION_CACHE_DIR says where
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "dmlcsr_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # dozens of small programs take seconds too
    config = flags.FLAGS.config
    workdir = pathlib.Path(_WORKDIR.value) if _WORKDIR.value else None
    output = pathlib.Path(_OUTPUT.value) if _OUTPUT.value else None
    if workdir is None and _MODE.value != "prepare":
        fail(f"--mode={_MODE.value} needs --workdir=DIR")
    reads_pictures_only = _MODE.value == "demo" or (_MODE.value == "predict" and argv[1:])
    if not len(config) and not reads_pictures_only:
        fail("name a configuration, such as --config=configs/quickstart.py")
    try:
        if _DISTRIBUTED.value:
            modes.hosts.initialize(_DISTRIBUTED.value)
        options = {"weights": _WEIGHTS.value, "flip": _FLIP.value, "scales": read_scales(_SCALES.value)}
        if _MODE.value == "prepare":
            modes.prepare(config)
        elif _MODE.value == "train":
            modes.train(config, workdir)
        elif _MODE.value == "evaluate":
            modes.evaluate(config, workdir, **options)
        elif _MODE.value == "predict":
            writing = modes.Options(_WRITE.value, _REMAP.value, _SMOOTH.value)
            output = output or workdir / "predictions"
            modes.predict(config, workdir, argv[1:], output, writing, _FACES.value, **options)
        elif _MODE.value == "export":
            output = output or workdir / "export"
            modes.export(config, workdir, output, _FORMATS.value, _WEIGHTS.value)
        elif _MODE.value == "demo":
            modes.demo(workdir, _PORT.value, _FACES.value, **options)
        elif _MODE.value == "convert":
            modes.convert(config, workdir, argv[1:], output, _WEIGHTS.value)
    except modes.UserError as error:
        end_at_once(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped" + "; the same command goes on from the last checkpoint" * (_MODE.value == "train"))


def fail(message: str) -> None:
    """Ends with one line and exit status 1."""
    sys.exit(error_line(message))


def end_at_once(message: str) -> None:
    """Like `fail`, but leaves no time to threads, which may be stuck in what failed, to add a story of their own."""
    sys.stdout.flush()
    print(error_line(message), file=sys.stderr, flush=True)
    os._exit(1)


def error_line(message: str) -> str:
    """The one line that a mistake ends with."""
    return f"error: {' '.join(message.split())}"


def read_scales(texts: list[str]) -> tuple[float, ...]:
    """The numbers of --scales."""
    try:
        return tuple(map(float, texts))
    except ValueError:
        fail(f"--scales={','.join(texts)}: give numbers, such as 0.75,1,1.25")


def take_flag(argv: list[str], name: str) -> str | None:
    """Takes `--name=value` or `--name value` out of the arguments; None where it is not there."""
    for i, argument in enumerate(argv):
        if argument.startswith(f"--{name}="):
            return argv.pop(i).partition("=")[2]
        if argument == f"--{name}" and i + 1 < len(argv):
            argv.pop(i)
            return argv.pop(i)
    return None


def read_config(name: str | None, workdir: str | None) -> ConfigDict | None:
    """The configuration of FILE.py[:argument], or else of the workdir's config.json, or else none.

    Fields that an older config.json does not have take their defaults.
    """
    if name is None:
        path = pathlib.Path(workdir or "", "config.json")
        if not workdir or not path.exists():
            return None
        try:
            config = runpy.run_path(str(DEFAULT_CONFIG))["get_config"]()
            config.update(json.loads(path.read_text()))
            return config
        except (OSError, TypeError, ValueError) as error:
            fail(f"{path} cannot be read as a configuration ({error}); name one with --config=FILE")
    path, _, argument = name.partition(":")
    if not pathlib.Path(path).is_file():
        fail(f"--config={name}: there is no file {path}; try --config=configs/default.py")
    try:
        return runpy.run_path(path)["get_config"](*([argument] if argument else []))
    except Exception as error:  # whatever a user's own file may do
        fail(f"--config={name}: {type(error).__name__}: {error}")


def check_fields(argv: list[str], config: ConfigDict) -> None:
    """Refuses --config.FIELD that the configuration does not have, naming the nearest one."""
    fields = [name for name, _ in flatten(config)]
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--config.")
        if not argument.startswith("--config.") or name in fields:
            continue
        below = [field for field in fields if field.startswith(f"{name}.")]
        if below:
            fail(f"--config.{name} is a group; set one of its fields: {', '.join(below)}")
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0)[0]
        fail(f"--config.{name}: there is no such field; did you mean --config.{near}? All are in configs/default.py")


def flatten(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The fields of a configuration with their dotted names."""
    for name, value in config.items():
        yield from flatten(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else [(prefix + name, value)]


def parse_flags(argv: list[str]) -> list[str]:
    """Like absl's own parsing, but every mistake ends in one line."""
    name, workdir = take_flag(argv, "config"), take_flag(list(argv), "workdir")
    config = read_config(name, workdir)
    if config is not None:
        check_fields(argv, config)
    try:
        config_flags.DEFINE_config_dict(
            "config", config or ConfigDict(), "The configuration: FILE.py or FILE.py:debug."
        )
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        fail(str(error))


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=parse_flags)
