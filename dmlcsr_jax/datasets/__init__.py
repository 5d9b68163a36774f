"""Data sets of faces: their classes, and how they are prepared and read."""

from typing import TYPE_CHECKING, Any

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.specs import SPECS
from dmlcsr_jax.errors import UserError

if TYPE_CHECKING:
    from dmlcsr_jax.datasets.builder import FaceBuilder
    from dmlcsr_jax.datasets.prepared import Dataset

__all__ = ["Dataset", "FaceSpec", "get_builder", "get_spec", "prepare"]


def get_spec(name: str) -> FaceSpec:
    """The classes of a known data set; UserError names those there are."""
    if name not in SPECS:
        raise UserError(f"no data set {name!r} has classes of its own; choose one of {', '.join(SPECS)}")
    return SPECS[name]


def get_builder(config: Any) -> "FaceBuilder":
    """The TFDS builder of a data set, prepared, so that `.as_data_source(split)` works.

    Args:
      config: `config.dataset` of configs/default.py: `name`, `data_dir` (where prepared data lies, "" for TFDS's own
        place), `path` (the raw data), `bad_files`, and the fields of the data set's own name where it has some.

    Raises:
      UserError: unknown name, or what is wrong with the raw data or the place to write.
    """
    builder = _make_builder(config)
    builder.dataset()
    return builder


def prepare(config: Any) -> "Dataset":
    """The data set that a configuration names, prepared where that was not done yet; arguments as `get_builder`."""
    return _make_builder(config).dataset()


def _make_builder(config: Any) -> "FaceBuilder":
    if config.name not in _MAKERS:
        raise UserError(f"config.dataset.name is {config.name!r}; it can be {', '.join(_MAKERS)}")
    if config.name != "synthetic" and not config.path:
        raise UserError(f"config.dataset.path is empty; name the folder with the raw data of {config.name}")
    return _MAKERS[config.name](config)


# Imported late, because TensorFlow Datasets takes a second, which those who only want classes need not wait.
def _synthetic(config: Any) -> "FaceBuilder":
    from dmlcsr_jax.datasets.synthetic import Synthetic

    sizes = {split: getattr(config.synthetic, split) for split in ("train", "val", "test")}
    return Synthetic(sizes, size=config.synthetic.size, seed=config.synthetic.seed, data_dir=config.data_dir)


def _folder(config: Any) -> "FaceBuilder":
    from dmlcsr_jax.datasets.folder import Folder

    return Folder(config.path, **_common(config))


def _celebamask_hq(config: Any) -> "FaceBuilder":
    from dmlcsr_jax.datasets.celebamask_hq import CelebAMaskHQ

    options = config.celebamask_hq
    return CelebAMaskHQ(config.path, merge_order=options.merge_order, labels=options.labels, **_common(config))


def _lapa(config: Any) -> "FaceBuilder":
    from dmlcsr_jax.datasets.lapa import LaPa

    return LaPa(config.path, **_common(config))


def _helen(config: Any) -> "FaceBuilder":
    from dmlcsr_jax.datasets.helen import Helen

    return Helen(config.path, **_common(config))


def _common(config: Any) -> dict[str, str]:
    return {"data_dir": config.data_dir, "bad_files": getattr(config, "bad_files", "stop")}


_MAKERS = {
    "synthetic": _synthetic,
    "folder": _folder,
    "celebamask_hq": _celebamask_hq,
    "lapa": _lapa,
    "helen": _helen,
}


def __getattr__(name: str) -> Any:
    if name == "Dataset":
        from dmlcsr_jax.datasets.prepared import Dataset

        return Dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
