"""Data sets of faces: their classes, and how they are prepared and read."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.specs import SPECS
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import check_choice, in_section

if TYPE_CHECKING:
    from dmlcsr_jax.datasets.builder import FaceBuilder
    from dmlcsr_jax.datasets.prepared import Dataset

__all__ = ["Dataset", "DatasetSettings", "FaceSpec", "get_spec", "prepare"]


@dataclasses.dataclass(frozen=True)
class DatasetSettings:
    """The section `config.dataset`.

    Attributes:
      name: a name of `DATASETS`.
      path: the raw data.
      data_dir: where prepared data lies; "" for TFDS's own place.
      bad_files: "stop" or "skip".
      options: the fields of the subsection of this data set's name, if there is one.
    """

    name: str
    path: str = ""
    data_dir: str = ""
    bad_files: str = "stop"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        with in_section("config.dataset"):
            check_choice("name", self.name, _MAKERS)
            check_choice("bad_files", self.bad_files, ("stop", "skip"))

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> "DatasetSettings":
        """Reads `config.dataset`; UserError names a field that is out of range."""
        options = section.get(section["name"], {})
        return cls(section["name"], section["path"], section["data_dir"], section["bad_files"], dict(options))


def get_spec(name: str) -> FaceSpec:
    """The classes of a known data set; UserError names those there are."""
    if name not in SPECS:
        raise UserError(f"no data set {name!r} has classes of its own; choose one of {', '.join(SPECS)}")
    return SPECS[name]


def prepare(settings: DatasetSettings) -> "Dataset":
    """The data set, prepared unless that was done before.

    Raises:
      UserError: something is wrong with the raw data or the place to write.
    """
    if settings.name != "synthetic" and not settings.path:
        raise UserError(f"config.dataset.path is empty; name the folder with the raw data of {settings.name}")
    return _MAKERS[settings.name](settings).dataset()


# Imported late, because TensorFlow Datasets takes a second, which those who only want classes need not wait.
def _synthetic(config: DatasetSettings) -> "FaceBuilder":
    from dmlcsr_jax.datasets.synthetic import Synthetic

    sizes = {split: config.options[split] for split in ("train", "val", "test")}
    return Synthetic(sizes, size=config.options["size"], seed=config.options["seed"], data_dir=config.data_dir)


def _folder(config: DatasetSettings) -> "FaceBuilder":
    from dmlcsr_jax.datasets.folder import Folder

    return Folder(config.path, **_common(config))


def _celebamask_hq(config: DatasetSettings) -> "FaceBuilder":
    from dmlcsr_jax.datasets.celebamask_hq import CelebAMaskHQ

    return CelebAMaskHQ(config.path, **config.options, **_common(config))


def _lapa(config: DatasetSettings) -> "FaceBuilder":
    from dmlcsr_jax.datasets.lapa import LaPa

    return LaPa(config.path, **_common(config))


def _helen(config: DatasetSettings) -> "FaceBuilder":
    from dmlcsr_jax.datasets.helen import Helen

    return Helen(config.path, **_common(config))


def _common(config: DatasetSettings) -> dict[str, str]:
    return {"data_dir": config.data_dir, "bad_files": config.bad_files}


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
