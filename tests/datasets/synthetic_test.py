"""The built-in data set: one variant per size, counts and seed, with the faces that `draw_face` draws."""

import pathlib

import numpy as np
import pytest

from dmlcsr_jax.datasets import DatasetSettings, celebamask_hq, prepare
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.datasets.synthetic import SPEC, Synthetic, face_seed
from dmlcsr_jax.errors import UserError

COUNTS = {"train": 3, "val": 2, "test": 1}


def test_classes_are_those_of_celebamask():
    assert SPEC.class_names == celebamask_hq.SPEC.class_names
    assert SPEC.flip_pairs == celebamask_hq.SPEC.flip_pairs


def test_prepared_examples_are_the_drawn_faces(tmp_path):
    options = {**COUNTS, "size": 64, "seed": 3}
    dataset = prepare(DatasetSettings("synthetic", data_dir=str(tmp_path), options=options))
    assert dataset.splits == COUNTS and dataset.spec == SPEC
    assert pathlib.Path(dataset.directory) == tmp_path / "synthetic" / "64px-3-2-1-seed3" / "1.1.0"
    for split, count in COUNTS.items():
        source = dataset.source(split)
        assert len(source) == count
        for index in range(count):
            image, labels = draw_face(face_seed(3, split, index), 64)
            example = source[index]
            np.testing.assert_array_equal(decode_label(example["label"]), labels)
            decoded = decode_image(example["image"])
            assert np.abs(decoded.astype(int) - image).mean() < 5  # JPEG
            assert example["name"] == f"{split}_{index:06d}"


def test_each_setting_has_its_own_key():
    changes = ({}, {"size": 96}, {"seed": 1}, {"val": 1, "test": 2})
    keys = [Synthetic(**(COUNTS | change)).key for change in changes]
    assert len(set(keys)) == len(changes)
    assert keys[0] == Synthetic(**COUNTS).key == "256px-3-2-1-seed0"


def test_face_seeds_are_unique():
    seeds = [face_seed(s, split, i) for s in range(3) for split in COUNTS for i in (0, 1, 2, 2**31)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"train": 0}, "train is 0; it must be at least 1"),
        ({"val": -1}, "val is -1; it must be at least 0"),
        ({"test": -1}, "test is -1; it must be at least 0"),
        ({"size": 8}, "size is 8; it must be at least 32"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_options_out_of_range(tmp_path, option, message):
    settings = DatasetSettings("synthetic", data_dir=str(tmp_path), options=COUNTS | option)
    with pytest.raises(UserError, match=rf"^config\.dataset\.synthetic\.{message}$"):
        prepare(settings)
    assert not any(tmp_path.iterdir())
