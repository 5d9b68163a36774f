"""What every data set of faces shares: how it is written once and read many times, by TFDS without TensorFlow.

A data set is a subclass of `FaceBuilder` that lists what each split is made from, and makes an example of it:

    class Synthetic(FaceBuilder):
        def __init__(self, sizes, *, size, seed, data_dir=""):
            self._sizes, self._size, self._seed = sizes, size, seed   # before super().__init__()
            super().__init__(SPEC, key=f"{size}px_seed{seed}", data_dir=data_dir)

        def items(self, split):                           # in order, quickly: anything that can be sliced
            return range(self._sizes[split])

        def example(self, item):                          # in many threads at once
            return {"image": jpeg_or_png_bytes, "label": labels, "name": "000000"}

The class name in snake case is the data set's name, `key` (letters, digits, `._-`) the folder of this variant: whatever
changes the contents must change the key, or VERSION when the code that makes them does. Prepared data lies in
`DATA_DIR/NAME/KEY/VERSION`, with a `summary.json` of what it holds. `builder.dataset()` prepares that if need be and
returns a `Dataset`; a run that was killed, or met a bad file, is gone on with.
"""

import abc
import contextlib
import fcntl
import functools
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder, example_serializer

from dmlcsr_jax.console import quiet
from dmlcsr_jax.datasets.images import encode_label
from dmlcsr_jax.datasets.prepared import Dataset, Source
from dmlcsr_jax.datasets.preparing import Part, make_parts, write_parts
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.summary import Summary, Tally, count_pixels
from dmlcsr_jax.errors import UserError

__all__ = ["SPLITS", "Dataset", "FaceBuilder", "Source"]

SPLITS = ("train", "val", "test")


class FaceBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):
    """Base of all data sets; see the module's text for what a subclass gives.

    Args:
      spec: the classes.
      key: names this variant of the data set.
      data_dir: where prepared data lies; empty for $TFDS_DATA_DIR or else ~/tensorflow_datasets.
      bad_files: what happens where `example` raises UserError: "stop" lets it through, "skip" leaves that example out
        and lists it in the summary.
    """

    VERSION = tfds.core.Version("1.1.0")
    code_path = None  # TFDS would look beside the code for checksums of downloads, by a package it does not require
    # Whether a mended file gives another key, so that what a stopped run has done is of no use.
    key_follows_files = False

    def __init__(self, spec: FaceSpec, *, key: str, data_dir: str | os.PathLike = "", bad_files: str = "stop"):
        if bad_files not in ("stop", "skip"):
            raise UserError(f"config.dataset.bad_files is {bad_files!r}; it can be stop or skip")
        self.spec, self._bad_files = spec, bad_files
        root = os.fspath(data_dir) or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        with quiet():
            super().__init__(data_dir=os.path.expanduser(root), config=tfds.core.BuilderConfig(name=key))

    @abc.abstractmethod
    def items(self, split: str) -> Sequence[Any]:
        """What the examples of a split are made from, in order; empty where there is no such split."""

    @abc.abstractmethod
    def example(self, item: Any) -> Mapping[str, Any]:
        """One example: `image` as encoded bytes, `label` [H, W] uint8, `name`, and the further features.

        `remark` (text) may be there too: what is wrong beside picture and labels. Raises UserError for a bad file.
        """

    def further_features(self) -> Mapping[str, tfds.features.FeatureConnector]:
        """Features of an example besides image, label and name."""
        return {}

    def official_sizes(self) -> Mapping[str, int]:
        """Name of a split -> number of examples that the data set's publication names, where there is one."""
        return {}

    def notes(self) -> Sequence[str]:
        """What the summary is to say about the whole data set."""
        return ()

    def dataset(self) -> Dataset:
        """Prepares the data set where that was not done yet, and returns it ready to be read.

        TFDS writes into a folder `incomplete.*` beside the final one and renames it at the very end, so data is there
        whole or not at all. Processes that come at the same time wait for the first. Raises UserError where the raw
        data has mistakes, the data folder cannot be written or a prepared file is gone.
        """
        directory = pathlib.Path(self.data_dir)
        try:
            if not directory.exists():
                directory.parent.mkdir(parents=True, exist_ok=True)
                with _lock(directory.parent / ".lock"):
                    self._prepare(directory)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"config.dataset.data_dir: cannot write {directory} ({reason}); name a folder with room to write"
            ) from error
        splits = self.info.splits
        missing = [path for split in splits.values() for path in split.filepaths if not os.path.exists(path)]
        if missing or not splits:
            lost = missing[0] if missing else "its description"
            raise UserError(f"prepared data has lost {lost}; delete {directory} to prepare it again")
        dataset = Dataset(self.spec, str(directory), {name: split.num_examples for name, split in splits.items()})
        skipped = dataset.summary.skipped
        if skipped and self._bad_files == "stop":
            raise UserError(
                f"{directory} was prepared without {len(skipped)} bad files, the first: {skipped[0]}; use it by "
                f"--config.dataset.bad_files=skip, or mend them and delete it"
            )
        return dataset

    def _prepare(self, directory: pathlib.Path) -> None:
        for leftover in directory.parent.glob("incomplete.*"):
            shutil.rmtree(leftover)
        with quiet():
            if not directory.exists():  # else another process did it while this one waited
                self.download_and_prepare(file_format=tfds.core.FileFormat.ARRAY_RECORD)
                shutil.rmtree(self._parts_folder())
            else:
                self.info.read_from_directory(directory)

    def _parts_folder(self) -> pathlib.Path:
        """Where parts lie until all are there."""
        return pathlib.Path(self.data_dir).parent / f"parts.{self.VERSION}"

    def _download_and_prepare(self, dl_manager, download_config=None) -> None:
        """Called by TFDS, which moves what this leaves in `self.data_path` into place."""
        folder = self._parts_folder()
        folder.mkdir(exist_ok=True)
        parts = {split: make_parts(split, self.items(split), folder) for split in SPLITS}
        serializer = example_serializer.ExampleSerializer(self.info.features.get_serialized_info())
        try:
            all_parts = [part for some in parts.values() for part in some]
            write_parts(f"preparing {self.name}", all_parts, functools.partial(self._serialized, serializer))
        except UserError:
            if self.key_follows_files:
                shutil.rmtree(folder)
            raise
        tallies = {split: _total(part.tally() for part in some) for split, some in parts.items() if some}
        if not tallies or not all(tally.examples for tally in tallies.values()):
            empty = next((split for split, tally in tallies.items() if not tally.examples), "train")
            reason = f", the first: {tallies[empty].skipped[0]}" if empty in tallies else ""
            raise UserError(f"{self.name} has no example of {empty} that can be used{reason}")
        infos = [self._move_into_place(split, parts[split]) for split in tallies]
        self.info.set_splits(tfds.core.splits.SplitDict(infos))
        Summary(tallies, self.official_sizes(), tuple(self.notes())).write(pathlib.Path(self.data_path))

    def _serialized(self, serializer, item: Any) -> tuple[bytes | None, Tally]:
        try:
            example = dict(self.example(item))
        except UserError as error:
            if self._bad_files == "stop":
                raise
            return None, Tally(skipped=[str(error)])
        label, remark = example["label"], example.pop("remark", "")
        encoded = self.info.features.encode_example(example | {"label": encode_label(label)})
        tally = Tally(1, count_pixels(label, self.spec), remarks=[remark] if remark else [])
        return serializer.serialize_example(encoded), tally

    def _move_into_place(self, split: str, parts: Sequence[Part]) -> tfds.core.SplitInfo:
        parts = [part for part in parts if part.tally().examples]
        lengths = [part.tally().examples for part in parts]
        template, size = self._get_filename_template(split), 0
        for index, part in enumerate(parts):
            size += os.path.getsize(part.records)
            os.replace(part.records, template.sharded_filepath(shard_index=index, num_shards=len(parts)))
        return tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size, filename_template=template)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(),
            "label": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Faces and their parts: {', '.join(self.spec.class_names)}. {self.spec.terms}",
            features=tfds.features.FeaturesDict({**features, **self.further_features()}),
        )

    def _log_download_bytes(self):
        """Nothing: TFDS would print what it is going to download."""

    def _log_download_done(self):
        """Nothing, likewise."""


def _total(tallies) -> Tally:
    total = Tally()
    for tally in tallies:
        total += tally
    return total


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out until it is left; a killed process gives it free."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
