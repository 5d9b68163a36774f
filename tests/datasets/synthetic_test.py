"""The embedded data set: prepared once for each size, count and seed, and read back as it was drawn."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import celebamask_hq
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.datasets.synthetic import SPEC, Synthetic, face_seed
from dmlcsr_jax.errors import UserError

SIZES = {"train": 3, "val": 2, "test": 1}


def test_classes_are_those_of_celebamask():
    assert SPEC.class_names == celebamask_hq.SPEC.class_names
    assert SPEC.flip_pairs == celebamask_hq.SPEC.flip_pairs


def test_prepares_splits_and_reads_them_back(tmp_path):
    builder = Synthetic(SIZES, size=64, seed=3, data_dir=tmp_path)
    dataset = builder.dataset()
    assert dict(dataset.splits) == SIZES and dataset.spec == SPEC
    for split, count in SIZES.items():
        source = dataset.source(split)
        assert len(source) == count
        for index in range(count):
            image, label = draw_face(face_seed(3, split, index), 64)
            example = source[index]
            np.testing.assert_array_equal(decode_label(example["label"]), label)
            decoded = decode_image(example["image"])
            assert np.abs(decoded.astype(int) - image).mean() < 5
            assert example["name"] == f"{split}_{index:06d}"
    assert len(builder.as_data_source("val")) == 2


def test_every_setting_has_a_directory_of_its_own(tmp_path):
    changes = ({}, {"size": 96}, {"seed": 1}, {"sizes": {"train": 3, "val": 1, "test": 2}})
    made = [Synthetic(**{"sizes": SIZES, "data_dir": tmp_path} | change) for change in changes]
    assert len({str(builder.data_dir) for builder in made}) == len(made)
    assert "256px-3-2-1-seed0" in str(made[0].data_dir)
    assert Synthetic(SIZES, data_dir=tmp_path).data_dir == made[0].data_dir


def test_no_face_is_in_two_splits_or_under_two_seeds():
    seeds = [face_seed(s, split, i) for s in range(3) for split in SIZES for i in (0, 1, 2, 2**31)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sizes": {"train": 0, "val": 1}}, "train"),
        ({"sizes": {"train": 5, "test": -1}}, "test"),
        ({"size": 8}, "size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_refuses_numbers_that_make_no_sense(tmp_path, change, field):
    with pytest.raises(UserError, match=rf"^config\.dataset\.synthetic\.{field} is -?\d+; .+$"):
        Synthetic(**{"sizes": SIZES, "data_dir": tmp_path} | change)
    assert not any(tmp_path.iterdir())
