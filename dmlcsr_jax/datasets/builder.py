"""What every data set of faces shares: how it is written once and read many times, by TFDS without TensorFlow.

A data set is a subclass of `FaceBuilder` that says how many examples each split has and yields them:

    class Synthetic(FaceBuilder):
        def __init__(self, sizes, *, size, seed, data_dir=""):
            self._sizes, self._size, self._seed = sizes, size, seed   # before super().__init__()
            super().__init__(SPEC, key=f"{size}px_seed{seed}", data_dir=data_dir)

        def split_sizes(self):
            return self._sizes                            # {"train": 800, "val": 100, "test": 0}

        def examples(self, split):                        # in order; called once a split
            yield {"image": jpeg_or_png_bytes, "label": encode_label(labels), "name": "000000"}

`encode_label` is in `datasets/images.py`. The class name in snake case is the data set's name, `key` (letters, digits,
`._-`) the folder of this variant: whatever changes the contents must change the key, or VERSION when the code that
makes them does. Prepared data lies in `DATA_DIR/NAME/KEY/VERSION`. `builder.dataset()` prepares that if need be and
returns a `Dataset`.
"""

import abc
import collections
import contextlib
import dataclasses
import fcntl
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any

import tensorflow_datasets as tfds
from rich import console as rich_console
from rich import progress as rich_progress

from dmlcsr_jax.console import quiet
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError

_EXAMPLES_PER_SHARD = 256  # TFDS holds one shard in memory while it writes it
_UNDECODED = {"image": tfds.decode.SkipDecoding(), "label": tfds.decode.SkipDecoding()}


class Source:
    """A split of a prepared data set, read at random.

    `source[i]` is `{"image": encoded picture, "label": PNG of one channel of class numbers, "name": text}`, the first
    two as bytes. It may be read by many threads and sent to other processes, where it opens its files anew.
    """

    def __init__(self, directory: str | os.PathLike, split: str):
        self._directory, self._split = os.fspath(directory), split
        with quiet():
            builder = tfds.builder_from_directory(self._directory)
            self._records = builder.as_data_source(split, decoders=_UNDECODED)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._records[int(index)]
        return {"image": example["image"], "label": example["label"], "name": example["name"].decode()}

    def __reduce__(self):
        return Source, (self._directory, self._split)

    def __repr__(self) -> str:  # Grain puts it into its checkpoints
        return f"Source({self._directory!r}, {self._split!r})"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set that is ready to be read.

    Attributes:
      spec: its classes.
      directory: where its prepared files lie.
      splits: name of a split -> number of examples.
    """

    spec: FaceSpec
    directory: str
    splits: Mapping[str, int]

    def source(self, split: str) -> Source:
        """The examples of a split; UserError names the splits there are."""
        if split not in self.splits:
            raise UserError(f"{self.spec.name} has no split {split!r}; it has {', '.join(self.splits)}")
        return Source(self.directory, split)


class FaceBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base of all data sets; see the module's text for what a subclass gives.

    `ShardBasedBuilder` and not `GeneratorBasedBuilder`, because the latter's shuffling needs TensorFlow from 1 GB on.

    Args:
      spec: the classes.
      key: names this variant of the data set.
      data_dir: where prepared data lies; empty for $TFDS_DATA_DIR or else ~/tensorflow_datasets.
    """

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # TFDS would look beside the code for checksums of downloads, by a package it does not require

    def __init__(self, spec: FaceSpec, *, key: str, data_dir: str | os.PathLike = ""):
        self.spec = spec
        root = os.fspath(data_dir) or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        with quiet():
            super().__init__(data_dir=os.path.expanduser(root), config=tfds.core.BuilderConfig(name=key))

    @abc.abstractmethod
    def split_sizes(self) -> Mapping[str, int]:
        """Name of a split -> number of its examples. Mistakes in the raw data are raised as UserError here or below."""

    @abc.abstractmethod
    def examples(self, split: str) -> Iterable[Mapping[str, Any]]:
        """Yields the examples of a split in order: `image` and `label` as encoded bytes, `name` as text."""

    def dataset(self) -> Dataset:
        """Prepares the data set where that was not done yet, and returns it ready to be read.

        TFDS writes into a folder `incomplete.*` beside the final one and renames it at the very end, so data is there
        whole or not at all; what a killed run left behind is swept away here. Processes that come at the same time wait
        for the first. Raises UserError where the data folder cannot be written or a prepared file is gone.
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
        return Dataset(self.spec, str(directory), {name: split.num_examples for name, split in splits.items()})

    def _prepare(self, directory: pathlib.Path) -> None:
        for leftover in directory.parent.glob("incomplete.*"):
            shutil.rmtree(leftover)
        with quiet():
            if not directory.exists():  # else another process did it while this one waited
                self.download_and_prepare(file_format=tfds.core.FileFormat.ARRAY_RECORD)
            else:
                self.info.read_from_directory(directory)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(),
            "label": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Faces and their parts: {', '.join(self.spec.class_names)}. {self.spec.terms}",
            features=tfds.features.FeaturesDict(features),
        )

    def _shard_iterators_per_split(self, dl_manager) -> dict[str, list[Callable[[], Iterator]]]:
        del dl_manager  # nothing is downloaded
        sizes = {split: size for split, size in self.split_sizes().items() if size}
        return {split: _shards(self.name, split, size, self.examples) for split, size in sizes.items()}

    def _log_download_bytes(self):
        """Nothing: TFDS would print what it is going to download."""

    def _log_download_done(self):
        """Nothing, likewise."""


def parallel_map(function: Callable, items: Iterable, workers: int | None = None) -> Iterator:
    """`map` by threads: results in order, only a few ahead of the reader.

    Args:
      function: called with one item; what it raises is raised here.
      items: any iterable.
      workers: number of threads; one a core where None.
    """
    workers = workers or os.cpu_count() or 1
    items = iter(items)
    with futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque(pool.submit(function, item) for item in itertools.islice(items, 4 * workers))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)


def _shards(name: str, split: str, size: int, examples: Callable) -> list[Callable[[], Iterator]]:
    """Functions that each yield the next examples of one iterator, with their keys, as TFDS wants a split's shards."""
    numbered = enumerate(_with_progress(f"preparing {name}, {split}", size, examples, split))

    def shard(start: int, stop: int) -> Iterator[tuple[int, Any]]:
        taken = 0
        for taken, item in enumerate(itertools.islice(numbered, stop - start), 1):  # noqa: B007
            yield item
        if taken != stop - start:
            raise ValueError(f"{name} yields fewer than the {size} examples of {split} it promised")

    count = -(-size // _EXAMPLES_PER_SHARD)
    bounds = [i * size // count for i in range(count + 1)]
    return [lambda a=a, b=b: shard(a, b) for a, b in itertools.pairwise(bounds)]


def _with_progress(title: str, size: int, examples: Callable, split: str) -> Iterator:
    """The examples of a split, with a bar on the terminal while they are taken."""
    columns = (*rich_progress.Progress.get_default_columns(), rich_progress.MofNCompleteColumn())
    console = rich_console.Console(stderr=True)
    with rich_progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(examples(split), total=size, description=title)


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out until it is left; a killed process gives it free."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
