"""Preparation: in parts, complete or absent, resumed after a kill, and counted."""

import io
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping

import numpy as np
import pytest
from rich.console import Console

import dmlcsr_jax
from dmlcsr_jax.datasets import preparing
from dmlcsr_jax.datasets.builder import FaceBuilder
from dmlcsr_jax.datasets.images import decode_image, decode_label, encode_image
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.summary import Summary
from dmlcsr_jax.errors import UserError

SPEC = FaceSpec("numbers", ("background", "odd", "third"))


class Numbers(RawDataset[tuple[str, int]]):
    """Images and labels that are determined by their numbers; some may be bad."""

    spec, key, needs_path = SPEC, "key", False
    official_sizes: Mapping[str, int] = {"train": 10, "val": 4}
    notes = ("a note",)

    def __init__(self, sizes, bad=()):
        self.sizes, self.bad, self.made = sizes, bad, []

    def items(self, split):
        return [(split, i) for i in range(self.sizes.get(split, 0))]

    def example(self, item):
        split, i = item
        if (split, i) in self.bad:
            raise UserError(f"{split}/{i}.png is bad; replace it")
        self.made.append((split, i))
        labels = np.full((2, 3), i % 2, np.uint8)
        labels[0, 0] = 255 if i % 3 else 2
        image = np.full((2, 3, 3), i % 256, np.uint8)
        remark = f"{i} is odd in another way" if i == 7 else ""
        return Example(image=encode_image(image), labels=labels, name=f"{split}{i}", remark=remark)


def build(data_dir, sizes, bad=(), *, skip_bad_files=False):
    return FaceBuilder(Numbers(sizes, bad), data_dir=data_dir, skip_bad_files=skip_bad_files).dataset()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(preparing, "EXAMPLES_PER_PART", 4)


def names(source):
    return [source[i]["name"] for i in range(len(source))]


def test_parts_keep_the_order(tmp_path):
    dataset = build(tmp_path, {"train": 10, "val": 4, "test": 1})
    assert dataset.splits == {"train": 10, "val": 4, "test": 1}
    source = dataset.source("train")
    assert names(source) == [f"train{i}" for i in range(10)]
    for i in range(10):
        assert (decode_image(source[i]["image"]) == i).all()
        assert decode_label(source[i]["label"])[1, 1] == i % 2
    files = sorted(path.name for path in pathlib.Path(dataset.directory).glob("*train*"))
    assert files == [f"numbers-train.array_record-0000{i}-of-00003" for i in range(3)]
    assert [path.name for path in pathlib.Path(dataset.directory).parent.iterdir() if path.name[0] != "."] == ["1.1.0"]


def test_summary_counts_examples_pixels_and_differences(tmp_path):
    bad = [("train", 4), ("val", 0)]
    dataset = build(tmp_path, {"train": 10, "val": 3}, bad, skip_bad_files=True)
    assert dataset.splits == {"train": 9, "val": 2}
    assert names(dataset.source("train")) == [f"train{i}" for i in range(10) if i != 4]
    summary = dataset.summary
    train = summary.splits["train"]
    labels = [decode_label(dataset.source("train")[i]["label"]) for i in range(9)]
    counts = np.bincount(np.concatenate(labels, axis=None), minlength=256)
    assert train.pixels == {"background": counts[0], "odd": counts[1], "third": counts[2], "ignored": counts[255]}
    assert train.skipped == ["train/4.png is bad; replace it"]
    assert train.remarks == ["7 is odd in another way"]
    assert summary.differences() == ["train: 9 examples instead of 10", "val: 2 examples instead of 4"]
    assert build(tmp_path, {"train": 10, "val": 3}, skip_bad_files=True).summary == summary
    assert Summary.read(pathlib.Path(dataset.directory)) == summary


def test_summary_is_shown(tmp_path):
    bad = [("train", i) for i in range(20, 40)]
    dataset = build(tmp_path, {"train": 40, "val": 4}, bad, skip_bad_files=True)
    console = Console(record=True, width=200, file=io.StringIO())
    for part in dataset.summary.show(SPEC, dataset.directory):
        console.print(part)
    text = console.export_text()
    for expected in (
        "not the official size – train: 20 examples instead of 10",
        "skipped: train/20.png is bad; replace it",
        f"skipped: 10 more, all in {dataset.directory}/summary.json",
        "used, but: 7 is odd in another way",
        "a note",
        "ignored",
    ):
        assert expected in text
    assert "train/30.png" not in text


def test_bad_file_stops_and_once_fixed_preparation_resumes(tmp_path):
    sizes = {"train": 20, "val": 3}
    with pytest.raises(UserError, match=r"^train/17.png is bad; replace it$"):
        build(tmp_path, sizes, bad=[("train", 17)])
    assert not list((tmp_path / "numbers" / "key").glob("1.1.0"))
    fixed = Numbers(sizes)
    dataset = FaceBuilder(fixed, data_dir=tmp_path).dataset()
    assert dataset.splits == sizes
    assert sorted(fixed.made) == [*(("train", i) for i in range(16, 20)), *(("val", i) for i in range(3))]
    assert names(dataset.source("train")) == [f"train{i}" for i in range(20)]


def test_data_with_skipped_files_does_not_count_as_complete(tmp_path):
    sizes, bad = {"train": 5, "val": 2}, [("train", 1)]
    build(tmp_path, sizes, bad, skip_bad_files=True)
    with pytest.raises(UserError, match=r"prepared without 1 bad files, the first: train/1.png is bad.*bad_files=skip"):
        build(tmp_path, sizes)


def test_part_or_split_with_only_bad_files(tmp_path):
    sizes = {"train": 9, "val": 2}
    dataset = build(tmp_path / "a", sizes, [("train", i) for i in range(4, 8)], skip_bad_files=True)
    assert names(dataset.source("train")) == ["train0", "train1", "train2", "train3", "train8"]
    with pytest.raises(UserError, match=r"numbers has no usable example in val; the first problem: val/0.png is bad"):
        build(tmp_path / "b", sizes, [("val", 0), ("val", 1)], skip_bad_files=True)
    with pytest.raises(UserError, match="numbers has no usable example in train"):
        build(tmp_path / "c", {})


_KILLED = """
    import os, signal, sys
    from dmlcsr_jax.datasets import preparing
    from builder_test import FaceBuilder, Numbers
    preparing.EXAMPLES_PER_PART = 4
    class Dying(Numbers):
        def example(self, item):
            if item == ("train", 18):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().example(item)
    FaceBuilder(Dying({"train": 30, "val": 3}), data_dir=sys.argv[1]).dataset()
"""


def test_killed_preparation_resumes(tmp_path):
    repository = pathlib.Path(dmlcsr_jax.__file__).parents[1]
    path = os.pathsep.join([str(repository), str(pathlib.Path(__file__).parent)])
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "numbers" / "key"
    assert not list(folder.glob("1.1.0")) and len(list(folder.glob("incomplete.*"))) == 1
    written = {path.stem for path in (folder / "parts.1.1.0").glob("train-*.json")}
    assert written and written < {f"train-{i:05d}" for i in range(5)}
    again = Numbers({"train": 30, "val": 3})
    dataset = FaceBuilder(again, data_dir=tmp_path).dataset()
    done = {("train", 4 * int(stem[-5:]) + i) for stem in written for i in range(4)}
    assert set(again.made) == {("train", i) for i in range(30)} - done | {("val", i) for i in range(3)}
    assert names(dataset.source("train")) == [f"train{i}" for i in range(30)]
    assert [path.name for path in folder.iterdir() if path.name[0] != "."] == ["1.1.0"]
    uninterrupted = build(tmp_path / "uninterrupted", {"train": 30, "val": 3})
    assert uninterrupted.summary == dataset.summary


def test_unfinished_parts_are_written_again(tmp_path):
    with pytest.raises(UserError):
        build(tmp_path, {"train": 12}, bad=[("train", 11)])
    folder = tmp_path / "numbers" / "key" / "parts.1.1.0"
    (folder / "train-00000.json").unlink()  # killed between the two files
    (folder / "train-00001.records").unlink()  # killed while parts were moved
    again = Numbers({"train": 12})
    source = FaceBuilder(again, data_dir=tmp_path).dataset().source("train")
    assert names(source) == [f"train{i}" for i in range(12)]
    assert len(again.made) == 12


def test_parallel_map_keeps_the_order_and_reads_few_items_ahead():
    taken = []

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i

    results = parallel_map(lambda x: x * x, items(), workers=2)
    assert list(itertools.islice(results, 20)) == [i * i for i in range(20)]
    assert len(taken) <= 20 + 4 * 2


def test_parallel_map_keeps_the_weight_ahead_low():
    weights, ahead, most = [3, 3, 3, 9, 30, 1, 1, 1, 1, 8, 2, 40, 1], [], []
    taken = []

    def items():
        for weight in weights:
            taken.append(weight)
            yield weight

    def weigh(weight):
        return weight

    for done, result in enumerate(parallel_map(lambda x: x, items(), 2, ahead=5, weigh=weigh, heaviest=10), 1):
        ahead.append(result)
        most.append(taken[done:])
    assert ahead == weights
    assert all(sum(waiting[:-1]) <= 10 or len(waiting) <= 2 for waiting in most)  # the last one only waits to start
    assert all(len(waiting) <= 6 for waiting in most)
