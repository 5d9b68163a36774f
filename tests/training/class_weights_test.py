"""`config.class_weights` as numbers, and what they do to the loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.losses import multi_task_loss
from dmlcsr_jax.training.class_weights import read_class_weights
from dmlcsr_jax.types import Predictions

NAMES = ("background", "hair", "neck_l")


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("none", None),
        ("inverse_sqrt", [1, 2, 10]),
        ("hair=2, neck_l = 4.5", [1, 2, 4.5]),
        ("hair=0", [1, 0, 1]),
    ],
)
def test_weights_are_read(text, weights):
    found = read_class_weights(text, NAMES, [400, 100, 4])
    assert found is None if weights is None else found.tolist() == weights


def test_a_class_without_pixels_has_a_finite_weight():
    assert read_class_weights("inverse_sqrt", NAMES, [100, 4, 0]).tolist() == [1, 5, 1]


def test_mirrored_classes_share_their_pixels():
    names = ("background", "l_ear", "r_ear")
    assert read_class_weights("inverse_sqrt", names, [100, 8, 0], [("l_ear", "r_ear")]).tolist() == [1, 5, 5]


@pytest.mark.parametrize("text", ["hare=2", "hair", "hair=x", "hair=-1", "hair=inf", "hair=nan", "", "inverse"])
def test_mistakes_are_named(text):
    with pytest.raises(UserError, match=r"config\.class_weights="):
        read_class_weights(text, NAMES, [1, 1, 1])


def test_weights_enter_the_cross_entropy_and_its_distillation_alone():
    rng = np.random.default_rng(0)
    heads = Predictions(*(jnp.asarray(rng.normal(size=(1, 2, 2, count))) for count in (3, 2, 3)))
    labels = np.array([[[0, 1], [2, 255]]], np.uint8)
    options = {"teacher": heads._replace(parsing=heads.parsing + 1), "cycle": 1}
    _, plain = multi_task_loss(heads, labels, **options)
    _, weighted = multi_task_loss(heads, labels, class_weights=np.array([1.0, 2.0, 5.0]), **options)
    changed = {name for name in plain if not np.array_equal(plain[name], weighted[name])}
    assert changed == {"cross_entropy", "distill_parsing"}
    log_probabilities = np.asarray(heads.parsing - np.log(np.exp(heads.parsing).sum(-1, keepdims=True)))[0]
    own = [-log_probabilities[0, 0, 0], -log_probabilities[0, 1, 1], -log_probabilities[1, 0, 2]]
    np.testing.assert_allclose(weighted["cross_entropy"], np.dot(own, [1, 2, 5]) / 8, rtol=1e-5)


def test_equal_weights_change_nothing():
    rng = np.random.default_rng(1)
    heads = Predictions(*(jnp.asarray(rng.normal(size=(1, 4, 4, count))) for count in (3, 2, 3)))
    labels = rng.integers(0, 3, (1, 4, 4)).astype(np.uint8)
    plain, weighted = (multi_task_loss(heads, labels, class_weights=weights)[0] for weights in (None, np.full(3, 7.0)))
    np.testing.assert_allclose(plain, weighted, rtol=1e-6)
