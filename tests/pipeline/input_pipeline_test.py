"""Batches: the same ones whatever the number of threads, workers and hosts, from any step on, and none forgotten."""

import functools
import itertools
import time

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.builder import FaceBuilder
from dmlcsr_jax.datasets.images import decode_label, encode_image, encode_label
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.pipeline.batching import in_batches
from dmlcsr_jax.pipeline.input_pipeline import eval_batches, steps_per_epoch, train_batches
from dmlcsr_jax.pipeline.transforms import Augmentation

SPEC = get_spec("celebamask_hq")
SIZE = (16, 24)
STILL = Augmentation(scale=0.0, rotation=0.0, flip_probability=0.0)


class Numbered:
    """Examples whose pictures show their own number, in gray."""

    def __init__(self, count: int):
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict:
        image = np.full((20, 30, 3), index, np.uint8)
        image[:, 15:] += 100
        return {"image": encode_image(image), "label": encode_label(image[..., 0] % 19), "name": str(index)}


def take(count: int, source=None, **options):
    options = {"size": SIZE, "batch_size": 4, "augmentation": Augmentation(color_jitter=0.3), "seed": 7} | options
    batches = train_batches(source or Numbered(11), SPEC, **options)
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


def numbers(batches) -> list[list[int]]:
    """Which examples are in the batches, of pictures that were not varied."""
    return [[int(image[8, 6, 0]) for image in batch.images] for batch in batches]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_batches_have_the_promised_shapes_and_types():
    (batch,) = take(1)
    assert batch.images.shape == (4, 16, 24, 3) and batch.images.dtype == np.uint8
    assert batch.labels.shape == (4, 16, 24) and batch.labels.dtype == np.uint8
    assert batch.mask.shape == (4,) and batch.mask.dtype == bool and batch.mask.all()
    assert set(np.unique(batch.labels)) <= set(range(19)) | {255}


def test_each_epoch_is_another_order_without_repeats():
    epochs = numbers(take(6, augmentation=STILL))
    first, second, third = ([*epochs[i], *epochs[i + 1]] for i in (0, 2, 4))
    for epoch in (first, second, third):
        assert len(set(epoch)) == 8  # of 11: the rest does not fill a batch
    assert first != second != third


def test_same_seed_same_batches_other_seed_others():
    assert_same(take(5), take(5))
    assert numbers(take(2, augmentation=STILL)) != numbers(take(2, augmentation=STILL, seed=8))


def test_an_example_is_varied_otherwise_every_epoch():
    batches = take(6, Numbered(2), batch_size=2)
    assert len({batch.images.tobytes() for batch in batches}) == 6


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_resumed_at_any_step_as_if_never_stopped(step):
    assert_same(take(3, start_step=step), take(step + 3)[step:])


def test_far_steps_cost_nothing():
    (batch,) = take(1, start_step=10**12)
    assert batch.mask.all()


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_same_global_batches(hosts):
    whole = take(5)
    parts = [take(5, process_index=host, process_count=hosts) for host in range(hosts)]
    joined = [type(whole[0])(*map(np.concatenate, zip(*step, strict=True))) for step in zip(*parts, strict=True)]
    assert_same(whole, joined)


@pytest.mark.slow
def test_worker_processes_give_the_same_batches_from_prepared_data(tmp_path):
    class Prepared(RawDataset[int]):
        spec, key = SPEC, "eleven"

        def items(self, split):
            return range(11) if split == "train" else ()

        def example(self, item):
            example = Numbered(11)[item]
            return Example(image=example["image"], labels=decode_label(example["label"]), name=example["name"])

    source = FaceBuilder(Prepared(), data_dir=tmp_path).dataset().source("train")
    assert_same(take(7), take(7, source, num_workers=2))
    whole = list(eval_batches(Numbered(11), size=SIZE, batch_size=4))
    for (a, i), (b, j) in zip(eval_batches(source, size=SIZE, batch_size=4, num_workers=2), whole, strict=True):
        assert_same([a, (i,)], [b, (j,)])


def test_too_few_examples_and_uneven_hosts_are_refused():
    with pytest.raises(UserError, match=r"config.training.batch_size is 12; it must be 1 to 11, the training examples"):
        take(1, batch_size=12)
    with pytest.raises(UserError, match=r"config.training.batch_size is 0"):
        take(1, batch_size=0)
    with pytest.raises(UserError, match=r"config.training.batch_size is 4; it must be a multiple of the 3 hosts"):
        take(1, process_index=0, process_count=3)
    assert steps_per_epoch(11, 4) == 2


def test_evaluation_gives_every_example_once_and_fills_the_last_batch():
    found = list(eval_batches(Numbered(11), size=SIZE, batch_size=4))
    assert [list(indices) for _, indices in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, -1]]
    for batch, indices in found:
        assert batch.images.shape == (4, 16, 24, 3)
        np.testing.assert_array_equal(batch.mask, indices >= 0)
        for image, labels, index in zip(batch.images, batch.labels, indices, strict=True):
            if index >= 0:
                assert image[8, 6, 0] == index and image[8, 20, 0] == index + 100
                assert labels[8, 6] == index % 19
            else:
                assert (image == 0).all() and (labels == 255).all()


@pytest.mark.parametrize(("count", "hosts"), [(11, 2), (11, 3), (2, 4), (12, 4)])
def test_hosts_evaluate_every_example_once_in_as_many_batches(count, hosts):
    found = [
        list(eval_batches(Numbered(count), size=SIZE, batch_size=2, process_index=host, process_count=hosts))
        for host in range(hosts)
    ]
    assert len({len(batches) for batches in found}) == 1
    indices = np.concatenate([indices[batch.mask] for batches in found for batch, indices in batches])
    assert sorted(indices) == list(range(count))


def test_broken_record_is_told_by_its_error():
    class Broken(Numbered):
        def __getitem__(self, index):
            return super().__getitem__(index) | {"image": b""}

    with pytest.raises(UserError, match="cannot be decoded"):
        take(1, Broken(8))


class Watched(Numbered):
    """Notes every read in a file, from whatever process."""

    def __init__(self, count, path):
        super().__init__(count)
        self._path = path

    def __getitem__(self, index):
        with open(self._path, "a") as file:
            file.write("x")
        return super().__getitem__(index)


@pytest.mark.parametrize(
    "workers", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_reading_stays_few_batches_ahead(tmp_path, workers):
    path = tmp_path / "reads"
    batches = train_batches(Watched(64, path), SPEC, size=SIZE, batch_size=8, augmentation=STILL, num_workers=workers)
    next(batches)
    before, now = -1, path.stat().st_size
    while now > before:  # until all buffers are full
        time.sleep(0.5)
        before, now = now, path.stat().st_size
    batches.close()
    assert now <= 8 * 7


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [3, 8])
def test_any_batch_size_with_any_number_of_workers(batch_size):
    order, load = list(range(24)), functools.partial(_gray, size=SIZE)
    whole = list(in_batches(order, load, size=SIZE, batch_size=batch_size, num_workers=0))
    assert len(whole) == 24 // batch_size
    pieces = list(in_batches(order, load, size=SIZE, batch_size=batch_size, num_workers=2))
    for (a, i), (b, j) in zip(whole, pieces, strict=True):
        assert_same([a, (i,)], [b, (j,)])


def _gray(number, size):
    return np.full((*size, 3), number, np.uint8), np.full(size, number, np.uint8), number
