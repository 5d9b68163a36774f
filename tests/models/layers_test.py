"""Activated batch norm, pooling and convolution by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.models.backbones import get_backbone
from dmlcsr_jax.models.graph import DualGraph
from dmlcsr_jax.models.heads import ContextHead
from dmlcsr_jax.models.layers import ActivatedBatchNorm, Conv, LayerFactory
from dmlcsr_jax.ops.activations import add_relu
from dmlcsr_jax.ops.pooling import max_pool
from tests.lowered import count_operations


def variables_of(channels, dtype=np.float32):
    rng = np.random.default_rng(0)
    return {
        "params": {"scale": rng.normal(size=channels).astype(dtype), "bias": rng.normal(size=channels).astype(dtype)},
        "batch_stats": {"mean": np.full(channels, 0.2, dtype), "var": np.full(channels, 2.0, dtype)},
    }


def plain_norm(params, x, activation, absolute, epsilon):
    scale = jnp.abs(params["scale"]) + 1e-5 if absolute else params["scale"]
    axes = tuple(range(x.ndim - 1))
    y = (x - x.mean(axes)) / jnp.sqrt(x.var(axes) + epsilon) * scale + params["bias"]
    activated = {
        "leaky_relu": jnp.where(y > 0, y, 0.01 * y),
        "relu": jax.nn.relu(y),
        "relu6": jax.nn.relu6(y),
        "none": y,
    }
    return activated[activation]


@pytest.mark.parametrize(
    ("activation", "absolute", "epsilon"),
    [("leaky_relu", True, 1e-5), ("relu", True, 1e-5), ("none", False, 1e-5), ("relu6", False, 1e-3)],
)
def test_norm_and_its_gradients_are_those_of_the_formula(activation, absolute, epsilon):
    with jax.enable_x64(True):
        layer = ActivatedBatchNorm(activation, absolute, epsilon, dtype=jnp.float64)
        variables = variables_of(3, np.float64)
        variables["params"]["scale"] *= 4  # beyond 6
        rng = np.random.default_rng(1)
        x, weights = 3 + rng.normal(size=(2, 2, 5, 4, 3))

        def total(params, x):
            y, _ = layer.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
            return (weights * y).sum()

        def expected(params, x):
            return (weights * plain_norm(params, x, activation, absolute, epsilon)).sum()

        actual, expected = (jax.value_and_grad(f, (0, 1))(variables["params"], x) for f in (total, expected))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), actual, expected)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_running_statistics_are_unbiased(momentum):
    x = np.random.default_rng(2).normal(size=(2, 3, 4, 3)).astype(np.float32)
    layer, variables = ActivatedBatchNorm(momentum=momentum), variables_of(3)
    _, updated = layer.apply(variables, x, True, mutable=["batch_stats"])
    statistics = updated["batch_stats"]
    batch = x.reshape(-1, 3)
    np.testing.assert_allclose(statistics["mean"], momentum * 0.2 + (1 - momentum) * batch.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics["var"], momentum * 2 + (1 - momentum) * batch.var(0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_evaluation_uses_running_statistics(epsilon):
    x, variables = np.full((1, 2, 2, 3), 0.7, np.float32), variables_of(3)
    y = ActivatedBatchNorm("none", absolute_scale=False, epsilon=epsilon).apply(variables, x, False)
    expected = 0.5 / np.sqrt(2 + epsilon) * variables["params"]["scale"] + variables["params"]["bias"]
    np.testing.assert_allclose(y[0, 0, 0], expected, rtol=1e-5)


def test_statistics_are_exact_if_the_mean_is_far_from_zero():
    x = (100 + np.random.default_rng(3).normal(size=(4, 16, 16, 2))).astype(np.float32)
    layer = ActivatedBatchNorm("none")
    variables = layer.init(jax.random.key(0), x, False)
    variables["batch_stats"]["mean"] = np.full(2, 99, np.float32)
    y, _ = layer.apply(variables, x, True, mutable=["batch_stats"])
    expected = (x - x.mean((0, 1, 2), np.float64)) / x.std((0, 1, 2), np.float64)
    np.testing.assert_allclose(y, expected, atol=1e-3)


@pytest.fixture(scope="module")
def synchronized_step():
    """The gradients and statistics of one step, on one device with two examples and on two with one each."""
    devices = jax.local_devices()[:2]
    if len(devices) < 2:
        pytest.skip("one device only")
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = rng.normal(size=(2, 9, 7, 8))
        head = ContextHead(LayerFactory(jnp.float64), features=8)
        shapes = jax.eval_shape(lambda x: head.init(jax.random.key(0), x, False), x)
        variables = jax.tree.map(lambda leaf: rng.uniform(0.2, 1, leaf.shape), shapes)

        def step(head, variables, x):
            def loss(params):
                y, updated = head.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
                return jnp.square(y[..., :3]).mean(), updated

            return jax.grad(loss, has_aux=True)(variables["params"])

        def mapped(variables, x):
            synchronized = head.clone(make=LayerFactory(jnp.float64, axis_name="batch"))
            return jax.lax.pmean(step(synchronized, variables, x), "batch")

        one = jax.jit(lambda variables, x: step(head, variables, x))(variables, x)
        two = jax.pmap(mapped, "batch", in_axes=(None, 0), out_axes=None, devices=devices)(variables, x[:, None])
        return jax.tree.map(np.asarray, (one, two))


@pytest.mark.parametrize("part", [0, 1], ids=["gradients", "statistics"])
def test_two_devices_take_the_step_of_one(synchronized_step, part):
    one, two = (result[part] for result in synchronized_step)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max() + 1e-12), two, one
    )


@pytest.mark.parametrize("activation", ["none", "leaky_relu"])
def test_devices_share_statistics_that_are_exact_if_the_mean_is_far_from_zero(activation):
    """In float32; the devices' own means differ by several standard deviations."""
    devices = jax.local_devices()[:4]
    rng = np.random.default_rng(3)
    x = (100 + rng.normal(size=(len(devices), 4, 9, 7, 2)) + 3 * rng.normal(size=(len(devices), 1, 1, 1, 2))).astype(
        "f"
    )
    layer, variables = ActivatedBatchNorm(activation, axis_name="batch", momentum=0.0), variables_of(2)
    variables["batch_stats"]["mean"] = np.float32([98, 103])

    def step(x):
        y, updated = layer.apply(variables, x, True, mutable=["batch_stats"])
        return y, jax.lax.pmean(updated["batch_stats"], "batch")

    y, statistics = jax.pmap(step, "batch", out_axes=(0, None), devices=devices)(x)
    values = x.reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(statistics["mean"], values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics["var"], values.var(0, ddof=1), rtol=1e-4)
    expected = plain_norm(variables["params"], x.reshape(-1, 2).astype(np.float64), activation, True, 1e-5)
    np.testing.assert_allclose(np.reshape(y, (-1, 2)), expected, atol=1e-3)


@pytest.mark.parametrize("remat", [False, True])
def test_a_norm_synchronizes_once_in_each_direction(remat):
    """Not twice forward, and not again where the backward pass recomputes."""
    encoder = get_backbone("tiny", make=LayerFactory(axis_name="batch"), width=8, remat=remat)
    alone = get_backbone("tiny", make=LayerFactory(), width=8)
    x = jax.ShapeDtypeStruct((2, 1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: alone.init(jax.random.key(0), x, False), x.update(shape=x.shape[1:]))

    def step(variables, x):
        def loss(params):
            features, updated = encoder.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
            return sum(jnp.square(feature).mean() for feature in jax.tree.leaves(features)), updated

        return jax.grad(loss, has_aux=True)(variables["params"])

    lowered = jax.pmap(step, "batch", in_axes=(None, 0), devices=jax.local_devices()[:2]).lower(variables, x)
    norms = len(jax.tree.leaves(variables["batch_stats"])) // 2
    assert count_operations(lowered.as_text(), "all_reduce") == 2 * norms


def test_bfloat16_keeps_the_relations_of_channels():
    """What the relations add to the nodes, a normalized 1, beside sums over 2,304 positions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 48, 48, 32)).astype(np.float32)
    x = np.where(x > 0, x, 0.01 * x)
    shapes = jax.eval_shape(lambda x: DualGraph(LayerFactory()).init(jax.random.key(0), x, False), x)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            return rng.normal(size=leaf.shape).astype("f") / np.sqrt(np.prod(leaf.shape[:-1]))
        return rng.uniform(0.5, 1, leaf.shape).astype("f")

    variables = jax.tree.map_with_path(draw, shapes)
    params = variables["params"]
    without = {**variables, "params": params | {"conv_adj": {"kernel": 0 * params["conv_adj"]["kernel"]}}}

    def effect(dtype):
        graph = DualGraph(LayerFactory(dtype))
        captured = {"capture_intermediates": lambda module, _: module.name == "bn_wg"}

        @jax.jit
        def nodes(variables):
            mutable = ["batch_stats", "intermediates"]
            _, state = graph.apply(variables, x.astype(dtype), True, mutable=mutable, **captured)
            return state["intermediates"]["bn_wg"]["__call__"][0].astype(jnp.float32)

        return np.ravel(nodes(variables) - nodes(without))

    effects = effect(jnp.float32), effect(jnp.bfloat16)
    assert np.corrcoef(*effects)[0, 1] > 0.95


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (1, 7, 5, 2), (1, 1, 2, 1)])
def test_pooling_and_its_gradient(shape):
    x = jax.random.permutation(jax.random.key(0), jnp.arange(np.prod(shape)).astype(jnp.float32)).reshape(shape)
    padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=-1)
    y, gradient = jax.vjp(max_pool, x)
    expected, marks = np.zeros(y.shape), np.zeros(shape)
    weights = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    for b, i, j, c in np.ndindex(y.shape):
        expected[b, i, j, c] = padded[b, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3, c].max()
        marks += weights[b, i, j, c] * (np.asarray(x) == expected[b, i, j, c])
    assert y.shape == (shape[0], -(-shape[1] // 2), -(-shape[2] // 2), shape[3])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(gradient(weights)[0], marks, rtol=1e-5, atol=1e-6)


def test_convolution_keeps_the_size():
    x = jax.ShapeDtypeStruct((1, 9, 6, 4), jnp.float32)
    for fields, size in [({"dilation": 2}, (9, 6)), ({"strides": 2}, (5, 3)), ({"groups": 4}, (9, 6))]:
        conv = Conv(8, 3, use_bias=True, **fields)
        y, variables = jax.eval_shape(lambda x, conv=conv: conv.init_with_output(jax.random.key(0), x), x)
        assert y.shape == (1, *size, 8)
        assert variables["params"]["bias"].shape == (8,)


def test_add_relu_and_its_gradients():
    x = jnp.array([1.0, -2.0, 0.5, -1.0, jnp.nan])
    y = jnp.array([2.0, 1.0, -0.5, 1.5, 1.0])
    result, pull_back = jax.vjp(add_relu, x, y)
    np.testing.assert_array_equal(result, [3.0, 0.0, 0.0, 0.5, jnp.nan])
    for gradient in pull_back(jnp.arange(1.0, 6.0)):
        np.testing.assert_array_equal(gradient[:4], [1.0, 0.0, 0.0, 4.0])
