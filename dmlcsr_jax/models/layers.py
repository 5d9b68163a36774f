"""Convolution and activated batch norm, the two layers that everything here is made of."""

import dataclasses
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.models.convolution import convolution

Dtype = Any
EPSILON = 1e-5  # of every batch norm
SLOPE = 0.01  # of leaky ReLU
Activation = Literal["leaky_relu", "relu", "none"]


def parameter_dtype(dtype: Dtype) -> Dtype:
    """The dtype of parameters and statistics for a compute dtype: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


class Conv(nn.Module):
    """Convolution that keeps the size, apart from its stride: ceil(H / strides) x ceil(W / strides).

    Kernels start as He et al. (arXiv 1502.01852) propose, normal with deviation sqrt(2 / fan_out), where a
    batch norm follows. A convolution with bias has none behind it, so that its outputs must start small:
    uniform within 1 / sqrt(fan_in), the bias at zero.

    Attributes:
      features: channels of the output.
      kernel_size: height and width of the (odd) kernel.
      strides: step in both directions.
      dilation: distance of the kernel's taps.
      groups: `features` for a depthwise convolution.
      use_bias: whether to add a bias.
      dtype: dtype of the computation and the result.
    """

    features: int
    kernel_size: int = 1
    strides: int = 1
    dilation: int = 1
    groups: int = 1
    use_bias: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, I] -> [B, H', W', features]."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1] // self.groups, self.features)
        if self.use_bias:
            init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        else:
            init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        kernel = self.param("kernel", init, shape, parameter_dtype(self.dtype))
        y = convolution(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=self.strides,
            dilation=self.dilation,
            groups=self.groups,
            transformed=self.get_variable("winograd", "kernel"),
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), parameter_dtype(self.dtype))
            y = y + bias.astype(self.dtype)
        return y


class ActivatedBatchNorm(nn.Module):
    """Batch norm and activation in one: y = f((x - mean) / sqrt(var + 1e-5) * (|scale| + 1e-5) + bias).

    The published network has f = leaky ReLU with slope 0.01 and the scale's absolute value (in-place
    activated batch norm, arXiv 1712.02616); `absolute_scale=False` is ordinary batch norm.

    In training, mean and biased variance are those of the batch over all axes but the last, and over the
    devices of `axis_name`; the running values in `batch_stats` (`mean`, `var`; the variance unbiased) become
    momentum * running + (1 - momentum) * batch. Otherwise the running values are used.

    Attributes:
      activation: "leaky_relu", "relu" or "none".
      absolute_scale: whether |scale| + 1e-5 takes the place of scale.
      momentum: share of the old running values that stays.
      axis_name: name of the mapped axis to synchronise over, if any.
      dtype: dtype of the result; statistics are computed in at least float32.
    """

    activation: Activation = "leaky_relu"
    absolute_scale: bool = True
    momentum: float = 0.9
    axis_name: str | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[..., C] -> [..., C]."""
        shape, dtype = (x.shape[-1],), parameter_dtype(self.dtype)
        scale = self.param("scale", nn.initializers.ones, shape, dtype)
        bias = self.param("bias", nn.initializers.zeros, shape, dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, dtype)
        if self.absolute_scale:
            scale = jnp.abs(scale) + EPSILON
        x = x.astype(self.dtype)
        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + EPSILON)
            offset = bias - running_mean.value * factor
            return _activate(x.astype(dtype) * factor + offset, self.activation).astype(self.dtype)
        y, mean, var = _normalise(x, scale, bias, self.activation, self.axis_name)
        if not self.is_initializing():
            count = _count(x, self.axis_name)
            unbiased = var * (count / max(count - 1, 1))
            running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
        return y


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalise(x, scale, bias, activation, axis_name):
    """The activated norm of a batch, its mean and its biased variance; only the first is differentiable.

    The gradient is written out so that nothing but `x` is kept for it, and read in two passes. Mean and variance
    take a pass each and all is computed from x - mean: gradients of this network are so ill-conditioned that
    the digits which E[x²] - E[x]² loses would show.
    """
    return _normalise_forward(x, scale, bias, activation, axis_name)[0]


@partial(jax.jit, static_argnums=(3, 4))
def _normalise_forward(x, scale, bias, activation, axis_name):
    wide, axes = x.astype(scale.dtype), tuple(range(x.ndim - 1))
    mean = _over_devices(wide.mean(axes), axis_name)
    var = _over_devices(jnp.square(wide - mean).mean(axes), axis_name)
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    y = _activate((wide - mean) * factor + bias, activation).astype(x.dtype)
    return (y, mean, var), (x, scale, bias, mean, var)


@partial(jax.jit, static_argnums=(0, 1))
def _normalise_backward(activation, axis_name, residuals, gradients):
    x, scale, bias, mean, var = residuals
    # Not x - mean: XLA would see that it is the forward pass's, and keep that beside x until here.
    negated, axes = mean - x.astype(scale.dtype), tuple(range(x.ndim - 1))
    inverse = jax.lax.rsqrt(var + EPSILON)
    factor = scale * inverse
    gradient = gradients[0].astype(scale.dtype)
    if activation != "none":
        below = SLOPE * gradient if activation == "leaky_relu" else 0
        gradient = jnp.where(bias - negated * factor > 0, gradient, below)
    sums = jnp.stack([gradient.sum(axes), -(gradient * negated).sum(axes) * inverse])
    by_bias, by_scale = sums
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    by_mean, by_deviation = sums / _count(x, axis_name)
    by_x = factor * (gradient - by_mean + negated * (by_deviation * inverse))
    return by_x.astype(x.dtype), by_scale, by_bias


def _over_devices(value, axis_name):
    return value if axis_name is None else jax.lax.pmean(value, axis_name)


_normalise.defvjp(_normalise_forward, _normalise_backward)


def _count(x, axis_name):
    devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
    return x.size // x.shape[-1] * devices


def _activate(x, activation):
    if activation == "leaky_relu":
        return jnp.where(x > 0, x, SLOPE * x)
    return jax.nn.relu(x) if activation == "relu" else x


@jax.custom_vjp
def add_relu(x: jax.Array, y: jax.Array) -> jax.Array:
    """max(x + y, 0) of equal shapes and dtypes; NaN stays NaN. For its gradient only the result is kept.

    A selection, not a maximum, after which XLA on the CPU would sum all earlier blocks again in every block.
    """
    total = x + y
    return jnp.where(total <= 0, 0, total)


def _add_relu_forward(x, y):
    result = add_relu(x, y)
    return result, result


def _add_relu_backward(result, gradient):
    gradient = jnp.where(result <= 0, 0, gradient)
    return gradient, gradient


add_relu.defvjp(_add_relu_forward, _add_relu_backward)


@dataclasses.dataclass(frozen=True)
class LayerFactory:
    """Makes layers with the settings that a whole network shares.

    Attributes:
      dtype: compute dtype.
      momentum: of every batch norm.
      axis_name: mapped axis over which batch norm is synchronised, if any.
    """

    dtype: Dtype = jnp.float32
    momentum: float = 0.9
    axis_name: str | None = None

    def conv(self, features: int, kernel_size: int = 1, **fields: Any) -> Conv:
        """A convolution; `fields` as in Conv."""
        return Conv(features, kernel_size, **{"dtype": self.dtype} | fields)

    def norm(self, activation: Activation = "leaky_relu", **fields: Any) -> ActivatedBatchNorm:
        """A batch norm; `fields` as in ActivatedBatchNorm."""
        settings = {"momentum": self.momentum, "axis_name": self.axis_name, "dtype": self.dtype}
        return ActivatedBatchNorm(activation, **settings | fields)

    def conv_norm(
        self, x: jax.Array, train: bool, name: str, features: int, kernel_size: int = 1, first: int = 0, **fields: Any
    ) -> jax.Array:
        """Convolution and activated batch norm, called `name_0` and `name_1` (or from `first` on)."""
        x = self.conv(features, kernel_size, name=f"{name}_{first}", **fields)(x)
        return self.norm(name=f"{name}_{first + 1}")(x, train)
