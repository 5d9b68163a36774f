"""The multi-task loss matches the published one where that is right, and is well-defined where that breaks."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.losses import LossWeights, Softening, count_pixels, multi_task_loss, term, terms
from dmlcsr_jax.losses.counts import count_labels
from dmlcsr_jax.losses.objective import TERMS
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.pipeline.edges import edge_labels
from dmlcsr_jax.types import Predictions

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "losses_11.npz"
HEADS = Predictions._fields
BASE = [name for name, entry in TERMS.items() if entry.replaces is None]
GOLDEN_NAMES = {"binary_edge": "binary_edge_loss", "category_edge": "category_edge_loss"}

# Compiles in half the time.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def heads(golden, prefix="", dtype=np.float64):
    return Predictions(*(np.moveaxis(golden[prefix + head], 1, -1).astype(dtype) for head in HEADS))


EVERYTHING = Softening(target="probabilities", soften="heads,attention,hard", confidence=0.5)


@functools.partial(quick_jit, static_argnames="softening")
def loss_and_gradients(predictions, labels, **options):
    return jax.value_and_grad(lambda x: multi_task_loss(x, labels, **options), has_aux=True)(predictions)


def assert_gradients(gradients, golden, name, bound, order=np.inf):
    """Compares each head's gradient by a norm over all entries, relative to the norm of the expected gradient."""
    for head, gradient in zip(HEADS, gradients, strict=True):
        expected = np.moveaxis(golden[name.format(head)], 1, -1).ravel()
        difference = np.asarray(gradient).ravel() - expected
        assert np.linalg.norm(difference, order) <= bound * np.linalg.norm(expected, order), head


def random_predictions(rng, batch=2, size=9, num_classes=5, dtype=np.float32):
    shapes = ((batch, size, size, num_classes), (batch, size, size, 2), (batch, size, size, num_classes))
    return Predictions(*(rng.normal(size=shape).astype(dtype) for shape in shapes))


def random_labels(rng, batch=2, blocks=4, scale=8, num_classes=5):
    return np.kron(rng.integers(0, num_classes, (batch, blocks, blocks)), np.ones((scale, scale), int)).astype(np.uint8)


# The golden gradients are stored in float32. In float32, errors of `lovasz` that differ by an ulp may be ranked either
# way, which swaps the steps of two pixels: the 2-norm bounds that, the largest entry does not. Values are sums of 8,450
# terms, with a rounding error of about 92 half ulps (5e-6) if those were independent.
@pytest.mark.parametrize(
    ("dtype", "value_bound", "gradient_bound", "order"), [("float64", 1e-9, 1e-6, np.inf), ("float32", 1e-4, 1e-3, 2)]
)
class TestGolden:
    def test_terms_total_and_gradients(self, golden, dtype, value_bound, gradient_bound, order):
        with jax.enable_x64(dtype == "float64"):
            predictions = heads(golden, dtype=dtype)
            (total, values), gradients = loss_and_gradients(predictions, golden["labels"])
        assert total.dtype == dtype and set(values) == set(BASE)
        for name, value in values.items():
            np.testing.assert_allclose(value, golden[GOLDEN_NAMES.get(name, name)], rtol=value_bound, err_msg=name)
        np.testing.assert_allclose(total, golden["total"], rtol=value_bound)
        assert_gradients(gradients, golden, "grad_{}", gradient_bound, order)

    @pytest.mark.parametrize("cycle", [1, 3])
    def test_distillation(self, golden, dtype, value_bound, gradient_bound, order, cycle):
        with jax.enable_x64(dtype == "float64"):
            predictions, teacher = heads(golden, dtype=dtype), heads(golden, "teacher_", dtype)
            (total, values), gradients = loss_and_gradients(predictions, golden["labels"], teacher=teacher, cycle=cycle)
        assert set(values) == set(TERMS)
        for head in HEADS:
            name = f"distill_{head}"
            np.testing.assert_allclose(values[name], golden[f"{name}_c{cycle}"], rtol=value_bound, err_msg=name)
        np.testing.assert_allclose(total, golden[f"distill_total_c{cycle}"], rtol=value_bound)
        assert_gradients(gradients, golden, "grad_distill_{}_c" + str(cycle), gradient_bound, order)


def released_terms(predictions, labels):
    """Category edge loss and attention as the published code computes them."""
    _, edges = edge_labels(labels)
    size = labels.shape[1:]
    one_hot = jax.nn.one_hot(edges, predictions.category_edge.shape[-1], dtype=jnp.float64)
    log_edge = jax.nn.log_softmax(resize_bilinear(predictions.category_edge, size))
    weights = one_hot.mean((0, 1, 2))  # the frequency, instead of 1 - frequency
    edge = -jnp.sum(weights * one_hot * log_edge) / jnp.sum(weights * one_hot)
    log_parts = jax.nn.log_softmax(resize_bilinear(predictions.parsing, size))
    losses = -jnp.sum(jax.nn.one_hot(labels, log_parts.shape[-1], dtype=jnp.float64) * log_parts, -1)
    # Each pixel is weighted by its class number, instead of by 1 on an edge.
    attention = jnp.mean(jnp.sum(losses * edges, (1, 2)) / jnp.sum(edges > 0, (1, 2)))
    return edge, attention


def test_released_values_differ_in_two_terms_only(golden):
    weights = LossWeights()
    corrected_weights = dataclasses.replace(weights, category_edge=0.0, category_edge_attention=0.0)

    def released(predictions):
        edge, attention = released_terms(predictions, golden["labels"])
        rest, _ = multi_task_loss(predictions, golden["labels"], weights=corrected_weights)
        total = rest + weights.category_edge * edge + weights.category_edge_attention * attention
        return total, (edge, attention)

    with jax.enable_x64(True):
        predictions = jax.tree.map(jnp.asarray, heads(golden))
        (total, (edge, attention)), gradients = quick_jit(jax.value_and_grad(released, has_aux=True))(predictions)
    np.testing.assert_allclose(edge, golden["released_category_edge_loss"], rtol=1e-9)
    np.testing.assert_allclose(attention, golden["released_category_edge_attention"], rtol=1e-9)
    np.testing.assert_allclose(total, golden["released_total"], rtol=1e-9)
    assert_gradients(gradients, golden, "released_grad_{}", 1e-6)


def with_absent_class(labels):
    return np.where(labels == 3, 1, labels).astype(np.uint8)


@pytest.mark.parametrize("softening", [None, Softening(), EVERYTHING], ids=["alone", "published", "everything"])
@pytest.mark.parametrize(
    "change",
    [
        np.zeros_like,
        lambda labels: np.full_like(labels, 255),
        with_absent_class,
        lambda labels: np.stack([labels[0], np.full_like(labels[1], 2)]),
        lambda labels: np.stack([labels[0], np.full_like(labels[1], 255)]),
    ],
    ids=["no edge", "all ignored", "absent class", "one image without edges", "one image ignored"],
)
def test_finite(change, softening):
    rng = np.random.default_rng(0)
    predictions = random_predictions(rng)
    labels = change(random_labels(rng))
    options = {"teacher": random_predictions(rng), "cycle": 2, "softening": softening} if softening else {}
    for value in jax.tree.leaves(loss_and_gradients(predictions, labels, **options)):
        assert np.isfinite(value).all()


@pytest.mark.parametrize("edges", [False, True])
def test_balanced_loss_is_zero_if_only_one_class_occurs(edges):
    """Exactly so, in float32 too, because the weight is (n - n) / n."""
    rng = np.random.default_rng(0)
    for size in (12, 23, 37, 48):
        labels = np.zeros((2, size, size), np.uint8)
        if edges:
            labels[:] = 1 + np.arange(size) % 2
        prediction = jnp.asarray(rng.normal(size=(2, size, size, 2)), jnp.float32)
        student = Predictions(None, prediction, None)
        both = edge_labels(labels)
        counts = count_labels(labels, both, num_classes=3, class_weights=None, dtype=jnp.float32)
        pixels = terms.Pixels(student, labels, True, *both, None, False, counts)
        assert (pixels.binary_edges == edges).all()
        assert jax.jit(lambda pixels=pixels: terms.binary_edge(pixels))() == 0


def test_ignored_pixels_have_no_gradient():
    rng = np.random.default_rng(0)
    teacher = {"teacher": random_predictions(rng), "cycle": 1}
    for options in ({}, teacher):
        _, gradients = loss_and_gradients(random_predictions(rng), np.full((2, 32, 32), 255, np.uint8), **options)
        assert not gradients.parsing.any()


def test_extreme_logits_stay_finite():
    rng = np.random.default_rng(0)
    predictions = jax.tree.map(lambda x: 1e4 * x, random_predictions(rng))
    teacher = jax.tree.map(lambda x: -1e4 * x, predictions)
    for softening in (Softening(), EVERYTHING):
        options = {"teacher": teacher, "cycle": 2, "softening": softening}
        for value in jax.tree.leaves(loss_and_gradients(predictions, random_labels(rng), **options)):
            assert np.isfinite(value).all()


def test_losses_of_bfloat16_logits_are_float32():
    rng = np.random.default_rng(0)
    predictions = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), random_predictions(rng))
    (total, values), gradients = jax.eval_shape(loss_and_gradients, predictions, random_labels(rng))
    assert all(value.dtype == jnp.float32 for value in (total, *values.values()))
    assert all(gradient.dtype == jnp.bfloat16 for gradient in gradients)


def test_without_edge_heads_their_terms_are_absent():
    rng = np.random.default_rng(0)
    predictions = random_predictions(rng)._replace(binary_edge=None, category_edge=None)
    labels = random_labels(rng)
    _, values = jax.eval_shape(multi_task_loss, predictions, labels)
    assert set(values) == {"lovasz", "cross_entropy", "binary_edge_attention", "category_edge_attention"}
    (_, values), _ = jax.eval_shape(loss_and_gradients, predictions, labels, teacher=predictions, cycle=1)
    assert set(values) - set(BASE) == {"distill_parsing"}


@pytest.mark.parametrize("softening", [Softening(), EVERYTHING], ids=["published", "everything"])
def test_no_gradient_reaches_the_teacher(softening):
    rng = np.random.default_rng(0)
    predictions, labels, options = random_predictions(rng), random_labels(rng), {"cycle": 2, "softening": softening}
    gradient = jax.jit(jax.grad(lambda teacher: multi_task_loss(predictions, labels, teacher=teacher, **options)[0]))
    assert not any(x.any() for x in gradient(predictions))


def test_default_weights_are_the_published_ones():
    assert dataclasses.asdict(LossWeights()) == {
        "lovasz": 2,
        "cross_entropy": 2,
        "binary_edge": 1,
        "category_edge": 0.2,
        "binary_edge_attention": 4,
        "category_edge_attention": 1,
        "distill_parsing": 2,
        "distill_binary_edge": 1,
        "distill_category_edge": 0.2,
    }


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_negative_and_infinite_weights_are_refused(weight):
    with pytest.raises(FieldError, match=f"category_edge is {weight}; it must be at least 0"):
        LossWeights(category_edge=weight)


def test_total_is_the_weighted_sum_without_replaced_terms():
    rng = np.random.default_rng(0)
    predictions, teacher, labels = random_predictions(rng), random_predictions(rng), random_labels(rng)

    @quick_jit
    def loss(**weights):
        return multi_task_loss(predictions, labels, teacher=teacher, cycle=1, weights=LossWeights(**weights))

    for chosen in TERMS:
        total, values = loss(**{name: 3.0 * (name == chosen) for name in TERMS})
        replaced = chosen in {"cross_entropy", "binary_edge", "category_edge"}
        np.testing.assert_allclose(total, 0 if replaced else 3 * values[chosen], rtol=1e-6)  # one product


def test_subclass_declares_a_further_term():
    def mean_confidence(pixels):
        return jnp.mean(jnp.max(pixels.log_probabilities.parsing, axis=-1))

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Weights(LossWeights):
        confidence: float = term(0.5, mean_confidence, head="parsing")

    rng = np.random.default_rng(0)
    predictions, labels = random_predictions(rng, dtype=np.float64), random_labels(rng)
    with jax.enable_x64(True):
        total, values = jax.device_get(quick_jit(lambda: multi_task_loss(predictions, labels, weights=Weights()))())
        rest, rest_values = jax.device_get(quick_jit(lambda: multi_task_loss(predictions, labels))())
    assert set(values) == {*rest_values, "confidence"}
    np.testing.assert_allclose(total, rest + 0.5 * values["confidence"], rtol=1e-12)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("softening", [Softening(), EVERYTHING], ids=["published", "everything"])
def test_mean_over_devices_is_the_whole_batch(golden, softening):
    """For every term except `lovasz`; the two images have different numbers of ignored and edge pixels."""
    labels = golden["labels"].copy()
    labels[0, :20] = 255
    classes = np.linspace(0.5, 2, 11)

    def gradients_and_terms(predictions, labels, teacher, counts=None):
        def loss(predictions):
            _, values = multi_task_loss(
                predictions, labels, teacher=teacher, cycle=2, softening=softening, counts=counts, class_weights=classes
            )
            del values["lovasz"]
            return sum(values.values()), values

        return jax.grad(loss, has_aux=True)(predictions)

    def on_a_device(predictions, labels, teacher):
        options = {"cycle": 2, "softening": softening, "class_weights": classes, "dtype": jnp.float64}
        counts = jax.lax.pmean(count_pixels(labels, num_classes=11, teacher=teacher, **options), "batch")
        gradients, values = gradients_and_terms(predictions, labels, teacher, counts)
        return gradients, jax.lax.pmean(values, "batch")

    with jax.enable_x64(True):
        arguments = heads(golden), labels, heads(golden, "teacher_")
        expected, expected_values = jax.device_get(quick_jit(gradients_and_terms)(*arguments))
        split = jax.tree.map(lambda x: x[:, None], arguments)
        found, values = jax.device_get(jax.pmap(on_a_device, axis_name="batch", devices=jax.devices()[:2])(*split))
    for name, value in values.items():
        np.testing.assert_allclose(value, expected_values[name], rtol=1e-12, err_msg=name)
    for head in HEADS:
        # The mean over two devices halves each device's gradient.
        gradient = getattr(found, head)[:, 0] / 2
        np.testing.assert_allclose(gradient, getattr(expected, head), rtol=1e-9, atol=1e-15, err_msg=head)


def test_distillation_from_oneself_vanishes_with_later_cycles():
    rng = np.random.default_rng(0)
    predictions, labels = random_predictions(rng, dtype=np.float64), random_labels(rng)
    with jax.enable_x64(True):
        losses = [
            float(loss_and_gradients(predictions, labels, teacher=predictions, cycle=cycle)[0][1]["distill_parsing"])
            for cycle in (1, 10, 10_000)
        ]
    assert losses[0] > losses[1] > losses[2] > 0 and losses[2] < 1e-6
