"""Lovász-softmax against its definition, and its ways of ranking against each other.

All comparisons are in float64, except where a test is about float32.
"""

import functools
import re

import jax
import numpy as np
import pytest
from jax.test_util import check_grads

from dmlcsr_jax.losses import lovasz_softmax
from dmlcsr_jax.losses.jaccard_steps import counted_steps, keyed_steps, sorted_steps


def lovasz_by_definition(probabilities, labels):
    """Class by class, from the Jaccard losses."""
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


def random_case(seed, shape=(2, 13, 17), num_classes=6, sharpness=2.0):
    rng = np.random.default_rng(seed)
    labels = rng.choice([*range(num_classes - 1), 255], size=shape).astype(np.uint8)  # the last class is absent
    logits = sharpness * rng.normal(size=(*shape, num_classes))
    logits += 2 * (labels[..., None] == np.arange(num_classes))
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True), labels


def test_matches_the_definition():
    with jax.enable_x64(True):
        for seed in range(5):
            probabilities, labels = random_case(seed)
            expected = lovasz_by_definition(probabilities, labels)
            np.testing.assert_allclose(jax.jit(lovasz_softmax)(probabilities, labels), expected)


def test_gradient_matches_finite_differences():
    with jax.enable_x64(True):
        probabilities, labels = random_case(0, shape=(1, 5, 6))
        loss = jax.jit(lambda probabilities: lovasz_softmax(probabilities, labels))
        check_grads(loss, (probabilities,), order=1, modes=["rev"], eps=1e-7)


def test_right_is_zero_and_wrong_is_one():
    labels = np.array([0, 0, 1, 1, 255], np.uint8)
    right = np.eye(2)[[0, 0, 1, 1, 0]]
    with jax.enable_x64(True):
        assert lovasz_softmax(right, labels) == 0
        np.testing.assert_allclose(lovasz_softmax(1 - right, labels), 1)
        assert lovasz_softmax(right, np.full(5, 255, np.uint8)) == 0


def test_ignored_pixels_change_nothing():
    with jax.enable_x64(True):
        probabilities, labels = random_case(0)
        counted = labels != 255
        gradient_of = jax.jit(jax.grad(lovasz_softmax))
        gradient = gradient_of(probabilities, labels)
        np.testing.assert_allclose(gradient[counted], gradient_of(probabilities[counted], labels[counted]))
        assert not gradient[~counted].any()


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 8.0])  # from soft to nearly certain predictions
def test_counting_approximates_sorting(sharpness):
    """In the loss and in the gradient that reaches the network's logits, within the bounds of the docstring."""
    probabilities, labels = random_case(1, shape=(2, 128, 128), sharpness=sharpness)
    labels = labels.reshape(-1)
    foreground, valid = labels == np.arange(6)[:, None], labels != 255
    present = np.unique(labels[valid])

    def loss(steps, logits):
        probabilities = jax.nn.softmax(logits).reshape(-1, 6).T
        errors = jax.numpy.where(foreground, 1 - probabilities, probabilities)
        return ((errors * jax.lax.stop_gradient(steps(errors, foreground, valid)))[present][:, valid]).sum()

    with jax.enable_x64(True):
        counted, exact = (
            jax.device_get(jax.jit(jax.value_and_grad(functools.partial(loss, steps)))(np.log(probabilities)))
            for steps in (counted_steps, sorted_steps)
        )
    np.testing.assert_allclose(counted[0], exact[0], rtol=1e-6)
    assert np.abs(counted[1] - exact[1]).max() < 0.002 * np.abs(exact[1]).max()
    cosine = np.sum(counted[1] * exact[1]) / np.linalg.norm(counted[1]) / np.linalg.norm(exact[1])
    assert cosine > 0.99999


def test_many_float32_pixels():
    """The case that a CPU counts; the bound is that of float32 sums of 32,768 terms per class."""
    probabilities, labels = random_case(1, shape=(2, 128, 128))
    value = jax.jit(lovasz_softmax)(probabilities.astype(np.float32), labels)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, lovasz_by_definition(probabilities, labels), rtol=1e-4)


def test_counting_is_exact_for_errors_in_different_bins():
    rng = np.random.default_rng(0)
    errors = rng.permuted(np.tile(np.arange(1, 401) / 512, (3, 1)), axis=1)
    foreground, valid = rng.random((3, 400)) < 0.3, rng.random(400) < 0.9
    foreground &= valid
    with jax.enable_x64(True):
        counted, exact = (jax.jit(steps)(errors, foreground, valid) for steps in (counted_steps, sorted_steps))
        np.testing.assert_allclose(counted[:, valid], exact[:, valid])


@pytest.mark.parametrize(("num_classes", "sharpness"), [(2, 2.0), (11, 0.5), (19, 2.0), (19, 30.0), (32, 30.0)])
def test_keys_rank_as_exactly_as_the_docstring_says(num_classes, sharpness):
    """In the loss and in its gradient. With the highest sharpness many errors are below 1e-9, and some are 0 or 1."""
    probabilities, labels = random_case(2, shape=(1, 64, 64), num_classes=num_classes, sharpness=sharpness)
    probabilities = probabilities.astype(np.float32).reshape(-1, num_classes).T
    labels = labels.reshape(-1)
    foreground, valid = labels == np.arange(num_classes)[:, None], labels != 255
    errors = np.where(foreground, 1 - probabilities, probabilities)
    keyed, exact = (np.asarray(jax.jit(steps)(errors, foreground, valid)) for steps in (keyed_steps, sorted_steps))
    errors, keyed, exact = (x[foreground.any(1)][:, valid] for x in (errors, keyed, exact))
    np.testing.assert_allclose((errors * keyed).sum(1), (errors * exact).sum(1), rtol=1e-5)
    through_softmax = errors * (1 - errors)  # p (1 - p), which a step is multiplied by on its way to the logits
    difference = np.abs(through_softmax * (keyed - exact)).max(1)
    assert (difference <= 3e-4 * np.abs(through_softmax * exact).max(1)).all()


def test_keys_separate_neighboring_errors():
    """Each class has errors down to 1e-12 in another order, no two closer than a part in 2^20, and absent labels."""
    rng = np.random.default_rng(0)
    errors = rng.permuted(np.tile(np.geomspace(1e-12, 1, 3000, dtype=np.float32), (19, 1)), axis=1)
    errors[:, 0] = np.float32(1 - 2**-20) * errors[:, 1]
    valid = rng.random(3000) < 0.9
    foreground = (rng.integers(0, 18, 3000) == np.arange(19)[:, None]) & valid
    keyed, exact = (np.asarray(jax.jit(steps)(errors, foreground, valid)) for steps in (keyed_steps, sorted_steps))
    np.testing.assert_array_equal(keyed[:, valid], exact[:, valid])


def sorts_of(num_classes, dtype, platform):
    """The types of what the gradient sorts on a platform, and whether it scatters."""
    with jax.enable_x64(dtype == np.float64):
        shapes = jax.ShapeDtypeStruct((2, 128, 128, num_classes), dtype), jax.ShapeDtypeStruct((2, 128, 128), np.uint8)
        lowered = jax.jit(jax.value_and_grad(lovasz_softmax)).trace(*shapes).lower(lowering_platforms=(platform,))
    text = lowered.as_text()
    sorts = re.findall(r"stablehlo\.sort.*?\}\) : \((.*?)\) ->", text, re.DOTALL)
    assert text.count('"stablehlo.sort"') == len(sorts)
    return sorts, "stablehlo.scatter" in text


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_sort_one_row_of_integers_and_never_scatter(platform):
    size = 19 * 2 * 128 * 128
    there = f"tensor<{size}xui32>, tensor<{size}xi32>"
    back = f"tensor<{size}xui32>, tensor<{size}xf32>"
    assert sorts_of(19, np.float32, platform) == ([there, back], False)
    (exact,), _ = sorts_of(33, np.float32, platform)  # too many classes for the keys
    assert exact == "tensor<33x32768xf32>, tensor<33x32768xi32>"
    (exact,), _ = sorts_of(19, np.float64, platform)
    assert exact == "tensor<19x32768xf64>, tensor<19x32768xi32>"


def test_a_cpu_counts():
    assert sorts_of(19, np.float32, "cpu") == ([], True)
