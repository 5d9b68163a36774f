"""Label noise is reproducible, and does what its fields say."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.images import decode_label, encode_label
from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.pipeline.label_noise import LabelNoise, NoisyLabels, corrupt, drop_part, shift_boundaries

SPEC = get_spec("celebamask_hq")


@pytest.fixture
def labels():
    """Skin with two eyes and a nose on background."""
    labels = np.zeros((64, 48), np.uint8)
    labels[8:56, 6:42] = SPEC.class_id("skin")
    labels[20:26, 12:20] = SPEC.class_id("r_eye")
    labels[20:26, 28:36] = SPEC.class_id("l_eye")
    labels[30:42, 21:27] = SPEC.class_id("nose")
    labels[:4] = 255
    return labels


class Maps:
    def __init__(self, labels, count):
        self._data, self._count = encode_label(labels), count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        return {"image": b"", "label": self._data, "name": str(index)}


def test_share_of_noisy_labels_is_reproducible(labels):
    def maps(share, seed=0):
        source = NoisyLabels(Maps(labels, 200), spec=SPEC, noise=LabelNoise(share=share), seed=seed)
        return [decode_label(source[index]["label"]) for index in range(len(source))]

    noisy = maps(0.6)
    changed = np.mean([not np.array_equal(found, labels) for found in noisy])
    assert 0.5 < changed < 0.7
    assert all(map(np.array_equal, noisy, maps(0.6)))
    assert not all(map(np.array_equal, noisy, maps(0.6, seed=1)))
    assert all(np.array_equal(found, labels) for found in maps(0.0))
    assert {found.dtype for found in noisy} == {np.dtype(np.uint8)} and {found.shape for found in noisy} == {(64, 48)}


def test_boundaries_move_further_with_a_larger_std(labels):
    rng = np.random.default_rng(0)
    assert np.array_equal(shift_boundaries(labels, 0.0, rng), labels)
    little, much = (
        np.mean([(shift_boundaries(labels, std, rng) != labels).mean() for _ in range(50)]) for std in (0.5, 3.0)
    )
    assert 0 < little < much < 0.3


def test_left_and_right_swap(labels):
    noise = LabelNoise(share=1, boundary=0, swap=1, drop=0)
    found = corrupt(labels, spec=SPEC, noise=noise, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found == SPEC.class_id("l_eye"), labels == SPEC.class_id("r_eye"))
    np.testing.assert_array_equal(found == 255, labels == 255)


def test_dropped_part_becomes_the_class_around_it(labels):
    lost = set()
    for seed in range(30):
        found = drop_part(labels, SPEC.num_classes, np.random.default_rng(seed))
        (gone,) = set(np.unique(labels)) - set(np.unique(found))
        lost.add(SPEC.class_names[gone])
        expected = "background" if SPEC.class_names[gone] == "skin" else "skin"
        if expected == "skin":
            assert (found[labels == gone] == SPEC.class_id("skin")).all()
    assert lost == {"skin", "l_eye", "r_eye", "nose"}
    empty = np.zeros((4, 4), np.uint8)
    assert drop_part(empty, SPEC.num_classes, np.random.default_rng(0)) is empty


@pytest.mark.parametrize("field", ["share", "boundary", "swap", "drop"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_fields_out_of_range_are_refused(field, value):
    with pytest.raises(FieldError, match=f"{field} is {value}; it must be at least 0 and at most 1"):
        LabelNoise(**{field: value})
