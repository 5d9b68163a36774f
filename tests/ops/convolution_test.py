"""Convolution and its gradients equal those of `lax`, whichever method computes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import PartitionSpec as P

from dmlcsr_jax.ops import winograd
from dmlcsr_jax.ops.convolution import convolution, transform_kernel

CHANNELS = 6
# Input channels, output channels, groups.
PLAIN, DEPTHWISE, GROUPED = (CHANNELS, 5, 1), (CHANNELS, CHANNELS, CHANNELS), (CHANNELS, 4, 2)


def reference(x, kernel, *, strides=1, dilation=1, groups=1, padding="centered"):
    centered = [(dilation * (k - 1) // 2,) * 2 for k in kernel.shape[:2]]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        "SAME" if padding == "same" else centered,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def inputs(shape, kernel_size, channels, dtype=np.float32):
    inside, outside, groups = channels
    random = np.random.default_rng(0)
    x = random.normal(0.5, 1.0, (*shape, inside)).astype(dtype)
    return x, random.normal(size=(kernel_size, kernel_size, inside // groups, outside)).astype(dtype)


def value_and_gradients(function, x, kernel, **options):
    y, pull_back = jax.vjp(functools.partial(function, **options), x, kernel)
    weights = np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)
    return (y, *pull_back(jnp.asarray(weights)))


def assert_agrees(ours, expected):
    for a, b, bound in zip(ours, expected, (1e-4, 1e-3, 1e-3), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.abs(a - b).max() <= bound * np.abs(b).max()


def compare(shape, kernel_size, channels, **options):
    x, kernel = inputs(shape, kernel_size, channels)
    options["groups"] = channels[2]
    functions = [functools.partial(value_and_gradients, function, **options) for function in (convolution, reference)]
    assert_agrees(*jax.jit(lambda x, kernel: [function(x, kernel) for function in functions])(x, kernel))


@pytest.mark.parametrize("channels", [PLAIN, DEPTHWISE, GROUPED], ids=["plain", "depthwise", "grouped"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_agrees_with_lax(kernel_size, strides, dilation, channels):
    compare((2, 9, 12), kernel_size, channels, strides=strides, dilation=dilation)


@pytest.mark.parametrize("channels", [PLAIN, DEPTHWISE, GROUPED], ids=["plain", "depthwise", "grouped"])
@pytest.mark.parametrize(("strides", "dilation"), [(2, 1), (3, 1), (2, 2), (1, 4)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_same_padding_agrees_with_lax(kernel_size, strides, dilation, channels):
    compare((2, 9, 12), kernel_size, channels, strides=strides, dilation=dilation, padding="same")


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 10, 17), (3, 8, 16)], ids=["pixel", "odd", "blocks"])
@pytest.mark.parametrize("padding", ["centered", "same"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (2, 3), (3, 2), (1, 4)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_depthwise_agrees_with_lax_at_borders_of_blocks(kernel_size, strides, dilation, padding, shape):
    compare(shape, kernel_size, DEPTHWISE, strides=strides, dilation=dilation, padding=padding)


@pytest.mark.parametrize("length", [1, 8, 9, 12])
def test_same_padding_puts_the_smaller_half_in_front(length):
    x = np.arange(1.0, length + 1, dtype=np.float32).reshape(1, 1, length, 1)
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 0] = 1  # reads the first tap
    first = 1 if length % 2 == 0 else 0
    found = convolution(x, kernel, strides=2, padding="same")[0, 0, :, 0]
    np.testing.assert_array_equal(found, np.arange(first, length, 2)[: len(found)])


@pytest.mark.parametrize("size", [(17, 32), (30, 19)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("channels", [(64, 80, 1), (64, 72, 1), (16, 48, 1)], ids=["parts", "wide", "narrow"])
def test_winograd_agrees_with_lax(channels, dilation, size, monkeypatch):
    taken = []
    monkeypatch.setattr(winograd, "WIDEST", 64 * 72)
    tiles = winograd._tiles
    monkeypatch.setattr(winograd, "_tiles", lambda *arguments: taken.append(arguments[-1]) or tiles(*arguments))
    compare((2, *size), 3, channels, dilation=dilation)
    assert set(taken) == {3 if channels == (64, 80, 1) else 1}


@pytest.mark.parametrize(
    ("size", "strides", "dilation"),
    [((30, 19), 1, 1), ((30, 19), 2, 1), ((10, 7), 1, 1), ((9, 8), 1, 2), ((7, 8), 1, 1)],
    ids=["used", "stride", "few pixels", "few dilated", "too few"],
)
def test_a_transformed_kernel_changes_nothing(size, strides, dilation):
    x, kernel = inputs((2, *size), 3, (64, 80, 1))
    transformed = jax.jit(transform_kernel)(kernel)
    assert [row.shape for row in transformed] == 3 * [(6, 2, 64, 80)]
    options = {"strides": strides, "dilation": dilation}
    y = jax.jit(functools.partial(convolution, **options))(x, kernel, transformed=transformed)
    expected = reference(x, kernel, **options)
    assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max()
    # A wrong one shows whether it is used.
    zero = convolution(x, kernel, **options, transformed=[0 * row for row in transformed])
    assert (np.abs(zero).max() == 0) == (strides == 1 and 2 * size[0] * size[1] >= 128)


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 3, 1, 64), (3, 3, 64, 19), (7, 7, 64, 64)])
def test_other_kernels_are_not_transformed(shape):
    assert transform_kernel(jnp.zeros(shape)) is None


@pytest.mark.parametrize("dtype", [np.float64, jnp.bfloat16])
@pytest.mark.parametrize("padding", ["centered", "same"])
@pytest.mark.parametrize(("kernel_size", "channels"), [(1, PLAIN), (3, DEPTHWISE), (3, (64, 64, 1))])
def test_other_dtypes_are_exactly_lax(kernel_size, channels, padding, dtype):
    with jax.enable_x64(True):
        x, kernel = inputs((1, 24, 24), kernel_size, channels, dtype)
        options = {"groups": channels[2], "padding": padding, "strides": 2 if padding == "same" else 1}
        ours = value_and_gradients(convolution, x, kernel, **options)
        for a, b in zip(ours, value_and_gradients(reference, x, kernel, **options), strict=True):
            assert a.dtype == b.dtype == dtype
            np.testing.assert_array_equal(a, b)


def loss(function, kernel, x, **options):
    return (function(x, kernel, **options) ** 2).sum()


def value_and_squared_gradients(function, x, kernel):
    y, pull_back = jax.vjp(function, x, kernel)
    return (y, *pull_back(y))


@pytest.mark.parametrize(
    ("kernel_size", "groups", "strides"),
    [(1, 1, 1), (3, 1, 1), (5, 64, 1), (3, 64, 2)],
    ids=["1x1", "3x3", "depthwise", "depthwise with stride"],
)
def test_transformations(kernel_size, groups, strides):
    x, kernel = inputs((2, 24, 24), kernel_size, (64, 64, groups))
    options = {"groups": groups, "strides": strides}
    expected = jax.grad(functools.partial(loss, reference, **options))(kernel, x)
    ours = functools.partial(loss, convolution, **options)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("batch",))

    def summed(kernel, x):
        return jax.lax.psum(jax.grad(ours)(kernel, x), "batch")

    sharded = jax.shard_map(jax.grad(ours), mesh=mesh, in_specs=(P(), P("batch")), out_specs=P())
    results = {
        "checkpoint": jax.jit(jax.grad(jax.checkpoint(ours)))(kernel, x),
        "pmap": jax.pmap(summed, axis_name="batch", in_axes=(None, 0), out_axes=None)(kernel, x[None]),
        # shard_map, which checks varying axes, sums the gradients of arguments that do not vary by itself.
        "shard_map": jax.jit(sharded)(kernel, x),
    }
    for name, result in results.items():
        assert np.abs(result - expected).max() <= 1e-3 * np.abs(expected).max(), name


@pytest.mark.parametrize("strides", [1, 2])
def test_a_depthwise_gradient_exports_for_any_batch(strides):
    x, kernel = inputs((3, 10, 9), 3, DEPTHWISE)
    function = functools.partial(convolution, strides=strides, groups=CHANNELS)
    gradients = jax.jit(functools.partial(value_and_squared_gradients, function))
    (batch,) = export.symbolic_shape("b")
    exported = export.export(gradients)(jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype), kernel)
    expected = value_and_squared_gradients(functools.partial(reference, strides=strides, groups=CHANNELS), x, kernel)
    assert_agrees(exported.call(x, kernel), expected)


def test_only_the_branch_of_the_platform_is_compiled():
    x, kernel = inputs((2, 24, 24), 1, (64, 64, 1))
    gradients = jax.jit(jax.grad(functools.partial(loss, convolution), (0, 1)))
    compiled = gradients.lower(kernel, x).compile().as_text()
    assert "conditional" not in compiled and "convolution(" not in compiled
    exported = export.export(gradients, platforms=["cuda"])(kernel, x).mlir_module()
    assert "stablehlo.convolution" in exported and "stablehlo.dot_general" not in exported
