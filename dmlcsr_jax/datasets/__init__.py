"""Data sets of faces: their classes, and how they are prepared and read."""

import dataclasses
from typing import TYPE_CHECKING, Any

from dmlcsr_jax.datasets import celebamask_hq, helen, lapa
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError

if TYPE_CHECKING:
    from dmlcsr_jax.datasets.builder import Dataset, FaceBuilder

__all__ = ["Dataset", "FaceSpec", "get_builder", "get_spec", "prepare"]

_SPECS = {
    "celebamask_hq": celebamask_hq.SPEC,
    "lapa": lapa.SPEC,
    "helen": helen.SPEC,
    "synthetic": dataclasses.replace(celebamask_hq.SPEC, name="synthetic", terms="drawn by code, no restrictions"),
}


def get_spec(name: str) -> FaceSpec:
    """The classes of a known data set; UserError names those there are."""
    if name not in _SPECS:
        raise UserError(f"no data set {name!r} has classes of its own; choose one of {', '.join(_SPECS)}")
    return _SPECS[name]


def get_builder(config: Any) -> "FaceBuilder":
    """The TFDS builder of a data set, prepared, so that `.as_data_source(split)` works.

    Args:
      config: with the attributes `name` ("synthetic" or "folder"), `data_dir` (where prepared data lies, "" for TFDS's
        own place), `path` (the raw data of "folder") and `synthetic` (`train`, `val`, `test`: counts; `size`; `seed`).

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
    # Imported here because TensorFlow Datasets takes a second, which those who only want classes need not wait.
    if config.name == "folder":
        from dmlcsr_jax.datasets.folder import Folder

        if not config.path:
            raise UserError(
                "config.dataset.path is empty; name a folder with train/images, train/labels, label_names.txt"
            )
        return Folder(config.path, data_dir=config.data_dir)
    if config.name == "synthetic":
        from dmlcsr_jax.datasets.synthetic import Synthetic

        sizes = {split: getattr(config.synthetic, split) for split in ("train", "val", "test")}
        return Synthetic(sizes, size=config.synthetic.size, seed=config.synthetic.seed, data_dir=config.data_dir)
    raise UserError(f"config.dataset.name is {config.name!r}; it can be synthetic or folder")


def __getattr__(name: str) -> Any:
    if name == "Dataset":
        from dmlcsr_jax.datasets.builder import Dataset

        return Dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
