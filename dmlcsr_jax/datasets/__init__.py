"""Face parsing data sets: their classes, and how they are prepared and read."""

import contextlib
import dataclasses
import os
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dmlcsr_jax.datasets import copies
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import FieldError, check_choice, in_section
from dmlcsr_jax.files import printable
from dmlcsr_jax.paths import check_path, local_path

if TYPE_CHECKING:
    from dmlcsr_jax.datasets.prepared import Dataset
    from dmlcsr_jax.datasets.raw import RawDataset

__all__ = ["DATASETS", "DatasetSettings", "FaceSpec", "get_spec", "prepare", "remove_copies"]

# The name in `config.dataset.name` -> "module:Class" of a RawDataset.
DATASETS = {
    "synthetic": "dmlcsr_jax.datasets.synthetic:Synthetic",
    "folder": "dmlcsr_jax.datasets.folder:Folder",
    "celebamask_hq": "dmlcsr_jax.datasets.celebamask_hq:CelebAMaskHQ",
    "lapa": "dmlcsr_jax.datasets.lapa:LaPa",
    "helen": "dmlcsr_jax.datasets.helen:Helen",
}


@dataclasses.dataclass(frozen=True)
class DatasetSettings:
    """The section `config.dataset`.

    Attributes:
      name: a key of `DATASETS`.
      path: the raw data.
      data_dir: where prepared data is stored, local or in gs://; "" for TFDS's default.
      bad_files: "stop" or "skip".
      keep_copies: whether prepared copies of earlier states of the data are kept.
      exif: "apply" or "ignore" the EXIF orientation of images and label maps; "" applies it, and warns where the label
        map may have been drawn the other way.
      terms: on what terms the data may be used; "" for what the data set says.
      options: the fields of the subsection named after the data set, if there is one.

    Raises:
      UserError: `name`, `bad_files` or `exif` is unknown, `path` is not local, or `data_dir`
        cannot be used.
    """

    name: str
    _: dataclasses.KW_ONLY
    path: str = ""
    data_dir: str = ""
    bad_files: str = "stop"
    keep_copies: bool = False
    exif: str = ""
    terms: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        with in_section("config.dataset"):
            check_choice("name", self.name, DATASETS)
            check_choice("bad_files", self.bad_files, ("stop", "skip"))
            check_choice("exif", self.exif, ("", "apply", "ignore"))
            if self.path:
                local_path(self.path, "config.dataset.path", "copy the raw data into a local folder")
            check_path(self.data_dir, "config.dataset.data_dir")
            if printable(self.data_dir) != self.data_dir:  # the library that writes records takes no other names
                raise FieldError(f"data_dir is {printable(self.data_dir)}; name a folder whose name is UTF-8")

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> "DatasetSettings":
        """Reads `config.dataset`; UserError names a field that is out of range."""
        fields = ("name", "path", "data_dir", "bad_files", "keep_copies", "exif", "terms")
        shared = {field: section[field] for field in fields if field in section}
        return cls(**shared, options=dict(section.get(section["name"], {})))


def get_spec(name: str) -> FaceSpec:
    """The classes of a known data set; UserError lists the choices."""
    spec = _find_spec(name) if name in DATASETS else None
    if spec is None:
        choices = ", ".join(known for known in DATASETS if _find_spec(known))
        raise UserError(f"no data set {name!r} has classes of its own; choose one of {choices}")
    return spec


def prepare(settings: DatasetSettings) -> "Dataset":
    """Prepares a data set unless that is already done, and returns it.

    Raises:
      UserError: an option or the raw data is invalid, or `data_dir` cannot be written.
    """
    from dmlcsr_jax.datasets.builder import FaceBuilder  # TensorFlow Datasets takes a second to import

    raw = _create(settings)
    options = {**settings.options, "exif": settings.exif}
    origin = copies.Origin(source=_source(settings), options=options, state=raw.state)
    dataset = FaceBuilder(
        raw,
        data_dir=settings.data_dir,
        skip_bad_files=settings.bad_files == "skip",
        origin=origin if raw.needs_path else None,
        keep_copies=settings.keep_copies,
    ).dataset()
    if not settings.terms:
        return dataset
    return dataclasses.replace(dataset, spec=dataclasses.replace(dataset.spec, terms=settings.terms))


def remove_copies(settings: DatasetSettings) -> list[str]:
    """Removes the prepared copies of a data set that no process uses, and what is left of interrupted preparations.

    Returns:
      One line per copy.
    """
    _require_path(settings)
    source, folder = _source(settings), copies.data_root(settings.data_dir) / settings.name
    found = copies.of_source(folder, source)
    with contextlib.suppress(UserError):  # the raw data may be gone
        own = folder / _create(settings).key
        found += [own] if own.is_dir() and own not in found else []
    return [copies.remove(copy, source) for copy in found] or [f"no prepared copy in {folder}"]


def _create(settings: DatasetSettings) -> "RawDataset[Any]":
    _require_path(settings)
    dataset_class = _find_class(settings.name)
    path = (settings.path,) if dataset_class.needs_path else ()
    create: Callable[..., RawDataset[Any]] = dataset_class
    with in_section(f"config.dataset.{settings.name}"):
        raw = create(*path, **settings.options)
    raw.use_exif(settings.exif)
    return raw


def _require_path(settings: DatasetSettings) -> None:
    if _find_class(settings.name).needs_path and not settings.path:
        raise UserError(f"config.dataset.path is empty; name the folder with the raw data of {settings.name}")


def _source(settings: DatasetSettings) -> str:
    """The raw data as a path without links; "" if there is none."""
    return os.path.realpath(os.path.expanduser(settings.path)) if settings.path else ""


def _find_class(name: str) -> "type[RawDataset[Any]]":
    return pkgutil.resolve_name(DATASETS[name])


def _find_spec(name: str) -> FaceSpec | None:
    """The classes that a data set has without its raw data; None if they depend on it."""
    return getattr(_find_class(name), "spec", None)
