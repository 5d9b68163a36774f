"""Preparing: in parts, whole or not at all, gone on with after a kill, and counted."""

import io
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dmlcsr_jax.datasets import builder, preparing
from dmlcsr_jax.datasets.images import decode_image, decode_label, encode_image
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.datasets.summary import Summary
from dmlcsr_jax.errors import UserError

SPEC = FaceSpec("numbers", ("background", "odd", "third"))


class Numbers(builder.FaceBuilder, skip_registration=True):
    """Pictures and labels that follow from their numbers; some of them may be bad."""

    name = "numbers"

    def __init__(self, data_dir, sizes, bad=(), **kwargs):
        self.sizes, self.bad, self.made = sizes, bad, []
        super().__init__(SPEC, key="key", data_dir=data_dir, **kwargs)

    def items(self, split):
        return [(split, i) for i in range(self.sizes.get(split, 0))]

    def example(self, item):
        split, i = item
        if (split, i) in self.bad:
            raise UserError(f"{split}/{i}.png is bad; replace it")
        self.made.append((split, i))
        labels = np.full((2, 3), i % 2, np.uint8)
        labels[0, 0] = 255 if i % 3 else 2
        picture = np.full((2, 3, 3), i % 256, np.uint8)
        remark = f"{i} is odd in another way" if i == 7 else ""
        return {"image": encode_image(picture), "label": labels, "name": f"{split}{i}", "remark": remark}

    def official_sizes(self):
        return {"train": 10, "val": 4}

    def notes(self):
        return ("a note",)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(preparing, "EXAMPLES_PER_PART", 4)


def names(source):
    return [source[i]["name"] for i in range(len(source))]


def test_parts_keep_the_order(tmp_path):
    dataset = Numbers(tmp_path, {"train": 10, "val": 4, "test": 1}).dataset()
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
    numbers = Numbers(tmp_path, {"train": 10, "val": 3}, bad=[("train", 4), ("val", 0)], bad_files="skip")
    dataset = numbers.dataset()
    assert dataset.splits == {"train": 9, "val": 2}
    assert names(dataset.source("train")) == [f"train{i}" for i in range(10) if i != 4]
    summary = dataset.summary
    train = summary.splits["train"]
    labels = [decode_label(dataset.source("train")[i]["label"]) for i in range(9)]
    counts = np.bincount(np.concatenate(labels, axis=None), minlength=256)
    assert train.pixels == {"background": counts[0], "odd": counts[1], "third": counts[2], "ignored": counts[255]}
    assert train.skipped == ["train/4.png is bad; replace it"]
    assert train.remarks == ["7 is odd in another way"]
    assert summary.differences() == ["train: 9 examples, officially 10", "val: 2 examples, officially 4"]
    assert Numbers(tmp_path, {"train": 10, "val": 3}, bad_files="skip").dataset().summary == summary
    assert Summary.read(pathlib.Path(dataset.directory)) == summary


def test_summary_is_shown(tmp_path):
    from rich.console import Console

    dataset = Numbers(
        tmp_path, {"train": 40, "val": 4}, bad=[("train", i) for i in range(20, 40)], bad_files="skip"
    ).dataset()
    console = Console(record=True, width=200, file=io.StringIO())
    for part in dataset.summary.show(SPEC, dataset.directory):
        console.print(part)
    text = console.export_text()
    for expected in (
        "not the official number – train: 20 examples, officially 10",
        "left out: train/20.png is bad; replace it",
        f"left out: 10 more, all in {dataset.directory}/summary.json",
        "used, but: 7 is odd in another way",
        "a note",
        "ignored",
    ):
        assert expected in text
    assert "train/30.png" not in text


def test_bad_file_stops_and_when_mended_the_run_goes_on(tmp_path):
    sizes = {"train": 20, "val": 3}
    with pytest.raises(UserError, match=r"^train/17.png is bad; replace it$"):
        Numbers(tmp_path, sizes, bad=[("train", 17)]).dataset()
    assert not list((tmp_path / "numbers" / "key").glob("1.1.0"))
    mended = Numbers(tmp_path, sizes)
    assert mended.dataset().splits == sizes
    assert sorted(mended.made) == [*(("train", i) for i in range(16, 20)), *(("val", i) for i in range(3))]
    assert names(mended.dataset().source("train")) == [f"train{i}" for i in range(20)]


def test_what_was_skipped_once_is_not_taken_for_whole_later(tmp_path):
    sizes, bad = {"train": 5, "val": 2}, [("train", 1)]
    Numbers(tmp_path, sizes, bad, bad_files="skip").dataset()
    with pytest.raises(UserError, match=r"prepared without 1 bad files, the first: train/1.png is bad.*bad_files=skip"):
        Numbers(tmp_path, sizes).dataset()


def test_a_part_of_bad_files_only_and_a_split_of_them(tmp_path):
    sizes = {"train": 9, "val": 2}
    dataset = Numbers(tmp_path / "a", sizes, [("train", i) for i in range(4, 8)], bad_files="skip").dataset()
    assert names(dataset.source("train")) == ["train0", "train1", "train2", "train3", "train8"]
    with pytest.raises(UserError, match=r"numbers has no example of val that can be used, the first: val/0.png is bad"):
        Numbers(tmp_path / "b", sizes, [("val", 0), ("val", 1)], bad_files="skip").dataset()
    with pytest.raises(UserError, match="numbers has no example of train"):
        Numbers(tmp_path / "c", {}).dataset()


def test_unknown_policy(tmp_path):
    with pytest.raises(UserError, match=r"config.dataset.bad_files is 'ignore'; it can be stop or skip"):
        Numbers(tmp_path, {"train": 1}, bad_files="ignore")


_KILLED = """
    import os, signal, sys
    from dmlcsr_jax.datasets import preparing
    from builder_test import Numbers
    preparing.EXAMPLES_PER_PART = 4
    class Dying(Numbers, skip_registration=True):
        name = "numbers"
        def example(self, item):
            if item == ("train", 18):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().example(item)
    Dying(sys.argv[1], {"train": 30, "val": 3}).dataset()
"""


def test_killed_run_is_gone_on_with(tmp_path):
    repository = pathlib.Path(builder.__file__).parents[2]
    path = os.pathsep.join([str(repository), str(pathlib.Path(__file__).parent)])
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "numbers" / "key"
    assert not list(folder.glob("1.1.0")) and len(list(folder.glob("incomplete.*"))) == 1
    written = {path.stem for path in (folder / "parts.1.1.0").glob("*.json")}
    assert written and written < {f"train-{i:05d}" for i in range(5)}
    again = Numbers(tmp_path, {"train": 30, "val": 3})
    dataset = again.dataset()
    done = {("train", 4 * int(stem[-5:]) + i) for stem in written for i in range(4)}
    assert set(again.made) == {("train", i) for i in range(30)} - done | {("val", i) for i in range(3)}
    assert names(dataset.source("train")) == [f"train{i}" for i in range(30)]
    assert [path.name for path in folder.iterdir() if path.name[0] != "."] == ["1.1.0"]
    whole = Numbers(tmp_path / "whole", {"train": 30, "val": 3}).dataset()
    assert whole.summary == dataset.summary


def test_half_written_parts_are_written_again(tmp_path):
    with pytest.raises(UserError):
        Numbers(tmp_path, {"train": 12}, bad=[("train", 11)]).dataset()
    folder = tmp_path / "numbers" / "key" / "parts.1.1.0"
    (folder / "train-00000.json").unlink()  # killed between the two files
    (folder / "train-00001.records").unlink()  # killed while parts were moved
    again = Numbers(tmp_path, {"train": 12})
    assert names(again.dataset().source("train")) == [f"train{i}" for i in range(12)]
    assert len(again.made) == 12


def test_parallel_map_keeps_the_order_and_is_few_items_ahead():
    taken = []

    def items():
        for i in itertools.count():
            taken.append(i)
            yield i

    results = parallel_map(lambda x: x * x, items(), workers=2)
    assert list(itertools.islice(results, 20)) == [i * i for i in range(20)]
    assert len(taken) <= 20 + 4 * 2
