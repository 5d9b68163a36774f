"""Batches do not depend on threads, workers, hosts or the first step, and contain every example."""

import contextlib
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
from dmlcsr_jax.pipeline.input_pipeline import TrainInput, eval_batches, steps_per_epoch
from dmlcsr_jax.pipeline.transforms import Augmentation
from dmlcsr_jax.types import Batch

SPEC = get_spec("celebamask_hq")
SIZE = (16, 24)
STILL = Augmentation(scale=0.0, rotation=0.0, flip_probability=0.0)


class Numbered:
    """Examples whose images show their number, in gray."""

    def __init__(self, count: int):
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict:
        image = np.full((20, 30, 3), index, np.uint8)
        image[:, 15:] += 100
        return {"image": encode_image(image), "label": encode_label(image[..., 0] % 19), "name": str(index)}


def train_input(source=None, **options) -> TrainInput:
    options = {"size": SIZE, "batch_size": 4, "augmentation": Augmentation(color_jitter=0.3), "seed": 7} | options
    return TrainInput(source=source or Numbered(11), spec=SPEC, **options)


def take(count: int, source=None, *, start_step: int = 0, **options):
    with contextlib.closing(train_input(source, **options).batches(start_step)) as batches:
        return list(itertools.islice(batches, count))


def numbers(batches) -> list[list[int]]:
    """Which examples are in the batches, given that they are not augmented."""
    return [[int(image[8, 6, 0]) for image in batch.images] for batch in batches]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_shapes_and_dtypes():
    (batch,) = take(1)
    assert batch.images.shape == (4, 16, 24, 3) and batch.images.dtype == np.uint8
    assert batch.labels.shape == (4, 16, 24) and batch.labels.dtype == np.uint8
    assert batch.mask.shape == (4,) and batch.mask.dtype == bool and batch.mask.all()
    assert set(np.unique(batch.labels)) <= set(range(19)) | {255}


def test_every_epoch_has_its_own_order_without_repeats():
    batches = numbers(take(6, augmentation=STILL))
    epochs = [(*batches[i], *batches[i + 1]) for i in (0, 2, 4)]
    assert [len(set(epoch)) for epoch in epochs] == [8] * 3  # of 11: the rest does not fill a batch
    assert len(set(epochs)) == 3


def test_seed_determines_the_batches():
    assert_same(take(5), take(5))
    assert numbers(take(2, augmentation=STILL)) != numbers(take(2, augmentation=STILL, seed=8))


def test_augmentation_differs_in_every_epoch():
    batches = take(6, Numbered(2), batch_size=2)
    assert len({batch.images.tobytes() for batch in batches}) == 6


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_resumes_at_any_step(step):
    assert_same(take(3, start_step=step), take(step + 3)[step:])


def test_starts_at_a_late_step():
    (batch,) = take(1, start_step=10**12)
    assert batch.mask.all()


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_same_global_batches(hosts):
    parts = [take(5, process_index=host, process_count=hosts) for host in range(hosts)]
    assert_same(take(5), joined(parts))


def joined(parts):
    """Global batches from those of each host."""
    return [Batch(*map(np.concatenate, zip(*step, strict=True))) for step in zip(*parts, strict=True)]


def test_one_pass_has_every_example_once_and_pads_the_last_batch():
    batches = list(train_input(augmentation=STILL).one_pass(epoch=2))
    assert [batch.mask.sum() for batch in batches] == [4, 4, 3]
    found = np.concatenate([batch.images[batch.mask][:, 8, 6, 0] for batch in batches])
    assert sorted(found) == list(range(11))
    assert (batches[-1].images[3] == 0).all() and (batches[-1].labels[3] == 255).all()


def test_one_pass_has_the_order_and_augmentation_of_its_epoch():
    source = train_input()
    passes = [list(source.one_pass(epoch)) for epoch in (0, 1)]
    assert_same(passes[0][:2], take(2))
    assert_same(passes[1][:2], take(2, start_step=2))


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_one_pass(hosts):
    parts = [list(train_input(process_index=host, process_count=hosts).one_pass(1)) for host in range(hosts)]
    assert_same(list(train_input().one_pass(1)), joined(parts))


@pytest.mark.slow
def test_worker_processes_make_the_same_batches_from_prepared_data(tmp_path):
    class Prepared(RawDataset[int]):
        spec, key = SPEC, "eleven"

        def items(self, split):
            return range(11) if split == "train" else ()

        def example(self, item):
            example = Numbered(11)[item]
            return Example(image=example["image"], labels=decode_label(example["label"]), name=example["name"])

    source = FaceBuilder(Prepared(), data_dir=tmp_path).dataset().source("train")
    assert_same(take(7), take(7, source, num_workers=2))
    assert_same(list(train_input().one_pass(3)), list(train_input(source, num_workers=2).one_pass(3)))
    whole = list(eval_batches(Numbered(11), size=SIZE, batch_size=4))
    for (a, i), (b, j) in zip(eval_batches(source, size=SIZE, batch_size=4, num_workers=2), whole, strict=True):
        assert_same([a, (i,)], [b, (j,)])


REPEATS = np.array([3.0, 1.5, *[1.0] * 9])


def test_repeated_examples_are_drawn_in_proportion_and_the_epoch_keeps_its_length():
    drawn = np.ravel(numbers(take(600, augmentation=STILL, repeats=REPEATS)))
    shares = np.bincount(drawn, minlength=11) / len(drawn)
    # Of 13.5 places on average, an epoch uses 8: over 300 epochs a share has a standard deviation of 0.008.
    np.testing.assert_allclose(shares, REPEATS / REPEATS.sum(), atol=0.02)
    same = take(2, augmentation=STILL, repeats=np.ones(11))
    assert len(set(np.ravel(numbers(same)))) == 8  # no example twice


@pytest.mark.parametrize(
    "options", [{"repeats": REPEATS}, {"drawn_faces": 0.5}, {"repeats": REPEATS, "drawn_faces": 1}]
)
def test_repeated_and_drawn_examples_depend_on_seed_and_step_alone(options):
    whole = take(5, **options)
    assert_same(whole[3:], take(2, start_step=3, **options))
    assert_same(whole, joined([take(5, process_index=host, process_count=2, **options) for host in range(2)]))
    assert len({batch.images.tobytes() for batch in whole}) == 5


def test_one_pass_repeats_nothing():
    assert_same(list(train_input(repeats=REPEATS).one_pass(2)), list(train_input().one_pass(2)))


def test_drawn_faces_replace_their_share_of_the_examples():
    class Empty(Numbered):
        def __getitem__(self, index):
            blank = np.zeros((20, 30), np.uint8)
            return super().__getitem__(index) | {"label": encode_label(blank)}

    batches = take(20, Empty(11), augmentation=STILL, drawn_faces=0.25)
    drawn = [bool((labels == SPEC.class_id("skin")).any()) for batch in batches for labels in batch.labels]
    assert 10 <= sum(drawn) <= 30  # of 80, with a standard deviation of 4
    assert all(batch.mask.all() for batch in batches)


def test_drawn_faces_need_their_own_classes():
    with pytest.raises(UserError, match=r"^config.input.drawn_faces is 0.1; it must be 0 for lapa"):
        TrainInput(source=Numbered(11), spec=get_spec("lapa"), size=SIZE, batch_size=4, drawn_faces=0.1)


def test_too_few_examples_and_uneven_hosts_are_refused():
    with pytest.raises(UserError, match=r"config.training.batch_size is 12; it must be 1 to 11, the training examples"):
        take(1, batch_size=12)
    with pytest.raises(UserError, match=r"config.training.batch_size is 0"):
        take(1, batch_size=0)
    with pytest.raises(UserError, match=r"config.training.batch_size is 4; it must be a multiple of the 3 hosts"):
        take(1, process_index=0, process_count=3)
    assert steps_per_epoch(11, 4) == 2


def test_evaluation_has_every_example_once_and_pads_the_last_batch():
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
def test_hosts_evaluate_every_example_once_in_equally_many_batches(count, hosts):
    found = [
        list(eval_batches(Numbered(count), size=SIZE, batch_size=2, process_index=host, process_count=hosts))
        for host in range(hosts)
    ]
    assert len({len(batches) for batches in found}) == 1
    indices = np.concatenate([indices[batch.mask] for batches in found for batch, indices in batches])
    assert sorted(indices) == list(range(count))


def test_error_names_the_broken_example():
    class Broken(Numbered):
        def __getitem__(self, index):
            return super().__getitem__(index) | {"image": b""}

    with pytest.raises(UserError, match=r"^\d cannot be decoded"):
        take(1, Broken(8))


class Watched(Numbered):
    """Counts reads in a file, in any process."""

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
def test_reads_few_batches_ahead(tmp_path, workers):
    path = tmp_path / "reads"
    source = train_input(Watched(64, path), batch_size=8, augmentation=STILL, num_workers=workers)
    with contextlib.closing(source.batches()) as batches:
        next(batches)
        before, now = -1, path.stat().st_size
        while now > before:  # until all buffers are full
            time.sleep(0.5)
            before, now = now, path.stat().st_size
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
