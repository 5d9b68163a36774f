"""Classes without pixels: training stops if there is nothing to learn, and every such class is named once."""

import pathlib

import numpy as np
import pytest

from dmlcsr_jax.datasets.builder import FaceBuilder
from dmlcsr_jax.datasets.checks import pixel_warning, require_training_pixels
from dmlcsr_jax.datasets.images import encode_image
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError

NAMES = ("background", "skin", "eye", "hair")


class Values(RawDataset[int]):
    """Images whose labels have the given values, one image a value."""

    needs_path = False
    key = "values"

    def __init__(self, names, **splits):
        self.spec, self._splits = FaceSpec("values", names), splits

    def items(self, split):
        return self._splits.get(split, ())

    def example(self, item):
        image = encode_image(np.zeros((2, 2, 3), np.uint8))
        return Example(image=image, labels=np.full((2, 2), item, np.uint8), name=str(item))


def prepared(folder: pathlib.Path, names=NAMES, **splits) -> Dataset:
    return FaceBuilder(Values(names, **splits), data_dir=folder).dataset()


def test_nothing_to_warn_of(tmp_path):
    dataset = prepared(tmp_path, train=[0, 1, 2, 3, 255], val=[3, 2, 1, 0])
    require_training_pixels(dataset)
    assert pixel_warning(dataset, ["train", "val"]) == ""


def test_every_class_without_pixels_is_named_in_one_line(tmp_path):
    dataset = prepared(tmp_path, train=[1, 2], val=[0, 255, 2, 3], test=[0])
    require_training_pixels(dataset)
    warning = pixel_warning(dataset, ["train", "val"])
    assert warning.startswith("classes without a pixel: background, hair in train; skin in val; do the class names")
    assert "in train" not in pixel_warning(dataset, ["val"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 255], r"no class but background has pixels in train.*have only 0 and 255: 255 is ignored; write 1\)$"),
        ([255], r"no class has pixels in train.*have only 255: 255 is ignored; write 1\)$"),
        (
            [0],
            r"no class but background has pixels in train, .*; write the number of its class into .* 0 to 3$",
        ),
        ([2, 255], r"no class but eye has pixels in train, .*; write the number of its class into each pixel"),
    ],
)
def test_training_stops_if_there_is_nothing_to_learn(tmp_path, values, message):
    dataset = prepared(tmp_path, train=values, val=[0, 1, 2, 3])
    with pytest.raises(UserError, match=message):
        require_training_pixels(dataset)


def test_masks_of_0_and_255_are_named_in_evaluation(tmp_path):
    dataset = prepared(tmp_path, ("background", "face"), val=[0, 255, 0])
    warning = pixel_warning(dataset, ["val"])
    assert "face in val (the label maps have only 0 and 255: 255 is ignored; write 1)" in warning


def test_training_needs_the_split_train(tmp_path):
    with pytest.raises(UserError, match="values has no split 'train', only test; put images into train/images"):
        require_training_pixels(prepared(tmp_path, test=[0, 1]))


def test_a_class_may_be_called_ignored(tmp_path):
    dataset = prepared(tmp_path, ("background", "ignored"), train=[0, 1, 255])
    assert pixel_warning(dataset, ["train"]) == ""
