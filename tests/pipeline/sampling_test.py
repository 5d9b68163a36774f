"""Rare classes are found, and their images repeated as in LVIS."""

import numpy as np
import pytest

from dmlcsr_jax.datasets.images import encode_label
from dmlcsr_jax.pipeline.sampling import class_factors, class_presence, repeat_factors

# Classes 0 and 1 are everywhere, 2 in a quarter, 3 in one of 8 images, 4 in none.
PRESENT = np.zeros((8, 5), bool)
PRESENT[:, :2] = True
PRESENT[[1, 5], 2] = True
PRESENT[5, 3] = True


class Maps:
    """A source whose label maps contain the classes of `PRESENT`, and ignored pixels."""

    def __len__(self):
        return len(PRESENT)

    def __getitem__(self, index):
        labels = np.append(np.flatnonzero(PRESENT[index]), 255).astype(np.uint8)
        return {"image": b"", "label": encode_label(labels[None]), "name": str(index)}


def test_classes_of_each_label_map():
    np.testing.assert_array_equal(class_presence(Maps(), 5), PRESENT)


def test_factors_are_the_square_root_of_how_rare_a_class_is():
    np.testing.assert_allclose(class_factors(PRESENT, 0.5), [1, 1, 2**0.5, 2, 1])
    np.testing.assert_allclose(repeat_factors(PRESENT, 0.5), [1, 2**0.5, 1, 1, 1, 2, 1, 1])


@pytest.mark.parametrize("threshold", [0.0, 0.125])
def test_a_threshold_below_every_share_repeats_nothing(threshold):
    assert (repeat_factors(PRESENT, threshold) == 1).all()
