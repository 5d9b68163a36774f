"""Legends stand in the emptiest corner, name the classes present, and never leave the image."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.drawing.legend import draw_legend

SPEC = get_spec("celebamask_hq")
SKIN, HAIR = SPEC.class_id("skin"), SPEC.class_id("hair")
SIZE = 400


def legend(labels, value=90):
    """A legend on a plain image: (rows, columns) of the pixels that it changed, and the image."""
    image = np.full((*labels.shape, 3), value, np.uint8)
    assert draw_legend(image, labels, SPEC) is image
    return np.nonzero((image != value).any(axis=-1)), image


@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_it_stands_in_the_emptiest_corner(bottom, right):
    labels = np.full((SIZE, SIZE), HAIR, np.uint8)
    empty = (
        slice(SIZE // 2, None) if bottom else slice(SIZE // 2),
        slice(SIZE // 2, None) if right else slice(SIZE // 2),
    )
    labels[empty] = 0
    (rows, columns), _ = legend(labels)
    assert ((rows >= SIZE // 2) == bottom).all() and ((columns >= SIZE // 2) == right).all()
    assert (rows.max() == SIZE - 1) if bottom else (rows.min() == 0)
    assert (columns.max() == SIZE - 1) if right else (columns.min() == 0)


def test_it_has_a_line_per_foreground_class_in_its_color():
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[300, 300:310], labels[310, 300], labels[320, 300] = SKIN, HAIR, 255
    (rows, _), image = legend(labels)
    first_line, second_line = np.array_split(image[: rows.max() + 1], 2)
    for line, own, other in ((first_line, SKIN, HAIR), (second_line, HAIR, SKIN)):
        assert (line == SPEC.palette[own]).all(axis=-1).sum() > 30  # the colored box
        assert not (line == SPEC.palette[other]).all(axis=-1).any()
        assert (line == 30).all(axis=-1).any() and (line.min(axis=-1) > 200).any()  # darkened image, bright text
    labels[labels == HAIR] = 0
    assert legend(labels)[0][0].max() < rows.max()  # one line is shorter than two


def test_without_foreground_there_is_none():
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[:9] = 255
    assert legend(labels)[0][0].size == 0


@pytest.mark.parametrize(("size", "drawn"), [((1, 1), False), ((9, 200), False), ((300, 40), True), ((24, 60), True)])
def test_small_images_get_a_legend_that_fits_or_none(size, drawn):
    labels = np.full(size, HAIR, np.uint8)
    (rows, _), image = legend(labels)
    assert image.shape == (*size, 3) and bool(rows.size) == drawn
