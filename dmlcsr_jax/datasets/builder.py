"""Prepares a data set once, so that it can be read many times. TFDS does both, without TensorFlow.

Prepared data is in `DATA_DIR/NAME/KEY/VERSION`, with its counts in `summary.json`. Interrupted preparation resumes.
Data for gs:// is prepared in a temporary local folder and uploaded, the summary last.
"""

import contextlib
import functools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.core.splits import SplitDict

from dmlcsr_jax.console import quiet
from dmlcsr_jax.datasets import copies
from dmlcsr_jax.datasets.images import encode_label
from dmlcsr_jax.datasets.label_checks import require_one_palette
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.datasets.preparing import Part, make_parts, write_parts
from dmlcsr_jax.datasets.raw import SPLITS, RawDataset
from dmlcsr_jax.datasets.summary import Summary, Tally, count_pixels
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path, as_path, files_below, is_remote, reaching, upload


class FaceBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):
    """Prepares a `RawDataset`.

    Args:
      raw: the data set.
      data_dir: where prepared data is stored, local or in gs://; if empty, $TFDS_DATA_DIR or ~/tensorflow_datasets.
      skip_bad_files: if True, an example that raises UserError is skipped and listed in the summary; otherwise the
        error is raised.
      origin: what the raw data is, if copies of its earlier states are to be removed once this one is complete.
      keep_copies: whether they are kept nevertheless.
    """

    VERSION = tfds.core.Version("1.1.0")  # increase it when this code writes something else
    code_path = None  # otherwise TFDS looks for checksums with a package that it does not require

    def __init__(
        self,
        raw: RawDataset[Any],
        *,
        data_dir: str | os.PathLike[str] = "",
        skip_bad_files: bool = False,
        origin: copies.Origin | None = None,
        keep_copies: bool = False,
    ):
        self.name = raw.spec.name  # pyright: ignore[reportAttributeAccessIssue]  # TFDS takes it from the class
        self._raw, self._features, self._skip_bad_files = raw, _features(raw), skip_bad_files
        self._origin, self._keep_copies = origin, keep_copies
        root = copies.data_root(data_dir)
        # Before TFDS reads what is there, which then stays until the data set has its own lock.
        self._reading = copies.reading(root / self.name / raw.key / str(self.VERSION))
        with quiet():
            super().__init__(data_dir=os.fspath(root), config=tfds.core.BuilderConfig(name=raw.key))

    def dataset(self) -> Dataset:
        """Prepares the data set unless that is already done, and returns it.

        TFDS writes to a folder `incomplete.*` next to the final one and renames it at the end, so prepared data is
        either complete or absent. Concurrent processes wait for the first one.

        Raises:
          UserError: the raw data is invalid, the data folder cannot be written, a prepared file is missing, or the
            data was prepared without some bad files and `skip_bad_files` is False.
        """
        try:
            with reaching(self.data_dir):
                return self._dataset(as_path(self.data_dir))
        finally:
            if self._reading:
                self._reading.close()

    def _dataset(self, directory: Path) -> Dataset:
        absent = not (directory / copies.SUMMARY if is_remote(directory) else directory).exists()
        try:
            if absent and isinstance(directory, pathlib.Path):
                with copies.preparing(directory.parent):
                    self._prepare(directory)
            elif absent:
                self._prepare_remote(directory)
        except OSError as error:
            if is_remote(directory):
                raise
            reason = error.strerror or error
            raise UserError(
                f"config.dataset.data_dir: cannot write {directory} ({reason}); name a folder with room to write"
            ) from error
        self._require_files(directory)
        sizes = {name: split.num_examples for name, split in self.info.splits.items()}
        raw = self._raw
        dataset = Dataset(
            raw.spec,
            str(directory),
            sizes,
            notes=tuple(raw.notes),
            warnings=tuple(raw.warnings),
            mirror_warnings=tuple(raw.mirror_warnings),
        )
        self._require_complete(dataset)
        self._sort_copies(directory.parent, prepared=absent)
        return dataset

    def _sort_copies(self, copy: Path, *, prepared: bool) -> None:
        """Notes whose copy this is; if it was just prepared, removes those that it replaces."""
        if not self._origin:
            return
        with contextlib.suppress(OSError):  # a copy that others have prepared may not be writable
            copies.record(copy, self._origin)
            if prepared and not self._keep_copies:
                copies.remove_older(copy, self._origin)

    def _require_files(self, directory: Path) -> None:
        splits = self.info.splits
        files = [path for split in splits.values() for path in split.filepaths]
        missing = [path for path in (*files, directory / copies.SUMMARY) if not as_path(path).exists()]
        if missing or not splits:
            lost = missing[0] if missing else f"the description in {directory}"
            raise UserError(
                f"prepared data is incomplete: {lost} is missing; delete the prepared copy with --mode=prepare --clean"
            )

    def _require_complete(self, dataset: Dataset) -> None:
        skipped = dataset.summary.skipped
        if skipped and not self._skip_bad_files:
            raise UserError(
                f"{dataset.directory} was prepared without {len(skipped)} bad files, the first: {skipped[0]}; accept "
                f"that with --config.dataset.bad_files=skip, or fix the files and "
                f"delete the prepared copy with --mode=prepare --clean"
            )

    def _prepare(self, directory: pathlib.Path) -> None:
        for leftover in directory.parent.glob("incomplete.*"):
            shutil.rmtree(leftover)
        with quiet():
            if directory.exists():  # another process prepared it while this one waited
                self.info.read_from_directory(directory)
            else:
                if self._origin:  # what is left of a killed run can be removed, too
                    copies.record(directory.parent, self._origin)
                self.download_and_prepare(file_format=tfds.core.FileFormat.ARRAY_RECORD)
                shutil.rmtree(self._parts_folder())

    def _prepare_remote(self, directory: Path) -> None:
        """Uploads a copy prepared locally; without the summary, which comes last, the next process does so again."""
        with tempfile.TemporaryDirectory() as folder:
            local = FaceBuilder(self._raw, data_dir=folder, skip_bad_files=self._skip_bad_files).dataset()
            files = files_below(pathlib.Path(local.directory))
            files.sort(key=lambda file: (file.name == copies.SUMMARY, file.name != "dataset_info.json"))
            upload(files, pathlib.Path(local.directory), directory)
        self.info.read_from_directory(directory)

    def _parts_folder(self) -> pathlib.Path:
        """Where finished parts are stored until all of them are finished."""
        return pathlib.Path(self.data_dir).parent / f"parts.{self.VERSION}"

    def _download_and_prepare(self, dl_manager: object, download_config: object = None) -> None:
        """Called by TFDS, which then moves the contents of `self.data_path` into place."""
        folder = self._parts_folder()
        folder.mkdir(exist_ok=True)
        parts = {split: make_parts(split, self._raw.items(split), folder) for split in SPLITS}
        serializer = ExampleSerializer(self._features.get_serialized_info())  # pyright: ignore[reportArgumentType]
        try:
            all_parts = [part for some in parts.values() for part in some]
            write_parts(f"preparing {self.name}", all_parts, functools.partial(self._serialize, serializer))
            require_one_palette(_total(part.tally() for part in all_parts).palettes)
        except UserError:
            if self._raw.key_follows_files:
                shutil.rmtree(folder)
            raise
        tallies = {split: _total(part.tally() for part in some) for split, some in parts.items() if some}
        self._require_examples(tallies)
        infos = [self._move_into_place(split, parts[split]) for split in tallies]
        self.info.set_splits(SplitDict(infos))
        summary = Summary(tallies, official=self._raw.official_sizes, notes=tuple(self._raw.notes))
        summary.write(pathlib.Path(self.data_path))

    def _require_examples(self, tallies: dict[str, Tally]) -> None:
        for split, tally in tallies.items() or {"train": Tally()}.items():
            if not tally.examples:
                reason = f"; the first problem: {tally.skipped[0]}" if tally.skipped else ""
                raise UserError(f"{self.name} has no usable example in {split}{reason}")

    def _serialize(self, serializer: ExampleSerializer, item: object) -> tuple[bytes | None, Tally]:
        try:
            example = self._raw.example(item)
        except UserError as error:
            if self._skip_bad_files:
                return None, Tally(skipped=[str(error)])
            raise
        stored = {"image": example.image, "label": encode_label(example.labels), "name": example.name}
        encoded = self._features.encode_example({**stored, **example.features})
        remarks = [example.remark] if example.remark else []
        tally = Tally(
            1,
            pixels=count_pixels(example.labels, self._raw.spec),
            remarks=remarks,
            warnings={problem: [file] for problem, file in example.warnings.items()},
            palettes=dict(example.palettes),
        )
        return serializer.serialize_example(encoded), tally

    def _move_into_place(self, split: str, parts: Sequence[Part[Any]]) -> tfds.core.SplitInfo:
        parts = [part for part in parts if part.tally().examples]
        lengths = [part.tally().examples for part in parts]
        template, size = self._get_filename_template(split), 0
        for index, part in enumerate(parts):
            size += os.path.getsize(part.records)
            os.replace(part.records, template.sharded_filepath(shard_index=index, num_shards=len(parts)))
        return tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=template)

    def _info(self) -> tfds.core.DatasetInfo:
        """Called by TFDS."""
        spec = self._raw.spec
        description = f"Faces and their parts: {', '.join(spec.class_names)}. {spec.terms}"
        return tfds.core.DatasetInfo(builder=self, description=description, features=self._features)

    def _log_download_bytes(self) -> None:
        """Does nothing; TFDS would print what it is about to download."""

    def _log_download_done(self) -> None:
        """Does nothing, likewise."""


def _features(raw: RawDataset[Any]) -> tfds.features.FeaturesDict:
    features = {
        "image": tfds.features.Image(),
        "label": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        "name": tfds.features.Text(),
    }
    for name, (shape, dtype) in raw.features.items():
        features[name] = tfds.features.Tensor(shape=shape, dtype=dtype)
    return tfds.features.FeaturesDict(features)


def _total(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total += tally
    return total
