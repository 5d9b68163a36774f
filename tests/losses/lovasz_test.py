"""Lovász-softmax against its definition, and its two ways of ranking against each other."""

import jax
import numpy as np
from jax.test_util import check_grads

from dmlcsr_jax.losses import lovasz_softmax
from dmlcsr_jax.losses.lovasz import counted_steps, sorted_steps


def lovasz_by_definition(probabilities, labels):
    """Class by class, from the Jaccard losses themselves."""
    probabilities, labels = probabilities[labels != 255], labels[labels != 255]
    losses = []
    for number in np.unique(labels):
        foreground = labels == number
        errors = np.abs(foreground - probabilities[:, number])
        order = np.argsort(-errors, kind="stable")
        hit = foreground[order]
        jaccard = 1 - (hit.sum() - hit.cumsum()) / (hit.sum() + (~hit).cumsum())
        losses.append(errors[order] @ np.diff(jaccard, prepend=0))
    return np.mean(losses) if losses else 0.0


def random_case(seed, shape=(2, 13, 17), num_classes=6, sharpness=2.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    labels = rng.choice([*range(num_classes - 1), 255], size=shape).astype(np.uint8)  # the last class is absent
    logits = sharpness * rng.normal(size=(*shape, num_classes))
    logits += 2 * (labels[..., None] == np.arange(num_classes))
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return (exponentials / exponentials.sum(-1, keepdims=True)).astype(dtype), labels


def test_is_its_definition():
    with jax.enable_x64(True):
        for seed in range(5):
            probabilities, labels = random_case(seed)
            expected = lovasz_by_definition(probabilities, labels)
            np.testing.assert_allclose(jax.jit(lovasz_softmax)(probabilities, labels), expected)


def test_gradient_is_the_slope():
    with jax.enable_x64(True):
        probabilities, labels = random_case(0, shape=(1, 5, 6))
        loss = jax.jit(lambda probabilities: lovasz_softmax(probabilities, labels))
        check_grads(loss, (probabilities,), order=1, modes=["rev"], eps=1e-7)


def test_right_is_zero_and_wrong_is_one():
    labels = np.array([0, 0, 1, 1, 255], np.uint8)
    right = np.eye(2, dtype=np.float32)[[0, 0, 1, 1, 0]]
    assert lovasz_softmax(right, labels) == 0
    assert lovasz_softmax(1 - right, labels) == 1
    assert lovasz_softmax(right, np.full(5, 255, np.uint8)) == 0


def test_ignored_pixels_change_nothing():
    with jax.enable_x64(True):
        probabilities, labels = random_case(0)
        counted = labels != 255
        slope = jax.jit(jax.grad(lovasz_softmax))
        gradient = slope(probabilities, labels)
        np.testing.assert_allclose(gradient[counted], slope(probabilities[counted], labels[counted]))
        assert not gradient[~counted].any()


def test_many_float32_pixels():
    """What a CPU counts instead of sorting, by the gradient that a network gets; soft, and nearly sure of itself."""

    def loss(logits, labels):
        return lovasz_softmax(jax.nn.softmax(logits), labels)

    value_and_gradient = jax.jit(jax.value_and_grad(loss))
    for sharpness in (0.5, 2.0, 8.0):
        probabilities, labels = random_case(1, shape=(2, 128, 128), sharpness=sharpness)
        logits = np.log(probabilities)
        value, gradient = jax.device_get(value_and_gradient(logits.astype(np.float32), labels))
        with jax.enable_x64(True):
            _, exact = jax.device_get(value_and_gradient(logits, labels))
        np.testing.assert_allclose(value, lovasz_by_definition(probabilities, labels), rtol=1e-5)
        assert np.abs(gradient - exact).max() < 0.01 * np.abs(exact).max()
        assert np.sum(gradient * exact) / np.linalg.norm(gradient) / np.linalg.norm(exact) > 0.99999


def test_counting_gives_a_bin_the_steps_of_its_pixels():
    """Errors that differ by whole bins are ranked exactly."""
    rng = np.random.default_rng(0)
    errors = rng.permuted(np.tile(np.arange(1, 401, dtype=np.float32) / 512, (3, 1)), axis=1)
    foreground, valid = rng.random((3, 400)) < 0.3, rng.random(400) < 0.9
    foreground &= valid
    counted, exact = (jax.jit(steps)(errors, foreground, valid) for steps in (counted_steps, sorted_steps))
    np.testing.assert_allclose(counted[:, valid], exact[:, valid], rtol=1e-6)
