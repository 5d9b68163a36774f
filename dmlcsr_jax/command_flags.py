"""The flags of the command line."""

from collections.abc import Callable
from typing import get_args

from absl import flags
from ml_collections import ConfigDict, config_flags

from dmlcsr_jax.types import EngineName, Faces, Precision

MODES = ("train", "evaluate", "predict", "export", "demo", "convert", "prepare")
# The modes that read a flag; a flag that is not listed is for all.
MODES_OF_FLAG = {
    "clean": ("prepare",),
    "output": ("predict", "export", "evaluate", "convert"),
    "write": ("predict",),
    "parts": ("predict",),
    "batch_size": ("predict",),
    "skip_existing": ("predict",),
    "faces": ("predict", "demo"),
    "boxes": ("predict",),
    "remap": ("predict",),
    "smooth": ("predict",),
    "flip": ("predict", "evaluate"),
    "scales": ("predict", "evaluate"),
    "engine": ("predict", "demo"),
    "precision": ("predict", "demo"),
    "port": ("demo",),
    "weights": ("predict", "evaluate", "export", "demo", "convert"),
    "predictions": ("evaluate",),
    "formats": ("export",),
}


def define_flags(config: ConfigDict, arguments: list[str]) -> flags.FlagValues:
    """All flags, and one for each field of the configuration; `arguments` are those of the command line."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict(
        "config", config, "The configuration: a recipe or FILE.py.", flag_values=values, sys_argv=arguments
    )

    def define(kind: Callable[..., object], name: str, default: object, *details: object) -> None:
        kind(name, default, *details, flag_values=values)

    define(flags.DEFINE_bool, "help", False, "Show this help.")
    define(flags.DEFINE_bool, "version", False, "Show the version.")
    define(flags.DEFINE_enum, "mode", "train", MODES, "What to do.")
    define(
        flags.DEFINE_string,
        "workdir",
        None,
        "Folder of the run, local or gs://BUCKET/NAME: configuration, checkpoints, logs, images.",
    )
    define(flags.DEFINE_bool, "clean", False, "delete the prepared copies instead; your own files stay.")
    define(
        flags.DEFINE_string,
        "output",
        None,
        "where results go: a folder (default: WORKDIR/predictions, WORKDIR/export, WORKDIR or ./evaluation), or for "
        "convert a file.",
    )
    define(
        flags.DEFINE_list,
        "write",
        "labels,overlays",
        "what is written: labels, overlays, masks (one per part), cutout (transparent around parts), sheet, json.",
    )
    define(flags.DEFINE_list, "parts", "", "the parts in masks and cut-outs, such as hair,hat (default: all).")
    define(flags.DEFINE_integer, "batch_size", None, "images per call of the network (default: 4).")
    define(flags.DEFINE_bool, "skip_existing", False, "skip inputs whose results exist.")
    define(
        flags.DEFINE_enum,
        "faces",
        None,
        get_args(Faces),
        "whole (each image is one face), detect (a detector finds them) or auto (the detector if there "
        "is one, else the network itself) (default: auto for portrait, else whole).",
    )
    define(flags.DEFINE_string, "boxes", "", "the faces of one image, LEFT,TOP,RIGHT,BOTTOM;... in pixels.")
    define(flags.DEFINE_string, "remap", "", "write labels in the classes of celebamask_hq, lapa or helen.")
    define(flags.DEFINE_integer, "smooth", 1, "frames of a video that vote on each pixel, an odd number.")
    define(flags.DEFINE_bool, "flip", False, "average with the mirror image.")
    define(flags.DEFINE_list, "scales", "1", "average over these sizes, such as 0.75,1,1.25.")
    define(
        flags.DEFINE_enum,
        "engine",
        "auto",
        get_args(EngineName),
        "what runs the network; auto: JAX on an accelerator, else the fastest that is installed.",
    )
    define(
        flags.DEFINE_enum,
        "precision",
        "float32",
        get_args(Precision),
        "what the network computes in; bfloat16 needs OpenVINO on a processor that has it, or an accelerator.",
    )
    define(flags.DEFINE_integer, "port", 7860, "where the page is, http://127.0.0.1:PORT.")
    define(
        flags.DEFINE_enum,
        "weights",
        None,
        ("student", "teacher"),
        "whose weights (default: the teacher's if there is one).",
    )
    define(
        flags.DEFINE_string,
        "predictions",
        None,
        "a folder of label maps, NAME.png for each image of the split, to score instead of a network.",
    )
    define(
        flags.DEFINE_string,
        "distributed",
        None,
        "To join several processes: auto on a cluster, else HOST:PORT,COUNT,INDEX. See docs/hosts.md.",
    )
    define(flags.DEFINE_list, "formats", "stablehlo,onnx", "what is written: stablehlo, onnx, safetensors, web.")
    return values


def describe_flags(values: flags.FlagValues) -> str:
    """One line per flag with the modes that read it; fields of the configuration are left out."""
    own = [name for name in values if not name.startswith("config") and name != "help"]
    modes = {name: f" ({', '.join(some)})" for name, some in MODES_OF_FLAG.items()}
    return "\n".join(f"--{name}{modes.get(name, '')}: {values[name].help}" for name in own)
