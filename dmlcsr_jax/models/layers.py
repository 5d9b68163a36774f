"""Convolution and activated batch norm, the two layers that the whole network consists of."""

import dataclasses
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.ops.activations import Activation, activate
from dmlcsr_jax.ops.batch_norm import BATCH_STATISTICS, activated_batch_norm, count_values
from dmlcsr_jax.ops.convolution import Padding, convolution

Dtype = Any
Block = TypeVar("Block", bound=nn.Module)
EPSILON = 1e-5  # of the published network: added to every variance, and to |scale|


def parameter_dtype(dtype: Dtype) -> Dtype:
    """The dtype of parameters and statistics for a compute dtype: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


class Conv(nn.Module):
    """Convolution that keeps the size, apart from its stride: ceil(H / strides) x ceil(W / strides).

    Kernels are initialized as in He et al. (arXiv 1502.01852), normal with std sqrt(2 / fan_out). A convolution with
    bias has no batch norm behind it, so its outputs must start small: uniform within 1 / sqrt(fan_in), the bias zero.

    Attributes:
      features: channels of the output.
      kernel_size: height and width of the (odd) kernel.
      strides: step along both axes.
      dilation: distance between neighboring taps of the kernel.
      groups: `features` for a depthwise convolution.
      use_bias: whether to add a bias.
      padding: "centered" (PyTorch's) or "same" (TensorFlow's SAME), see ops.convolution.
      dtype: dtype of the computation and the result.
    """

    features: int
    kernel_size: int = 1
    strides: int = 1
    dilation: int = 1
    groups: int = 1
    use_bias: bool = False
    padding: Padding = "centered"
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
            padding=self.padding,
            transformed=self.get_variable("winograd", "kernel"),
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), parameter_dtype(self.dtype))
            y = y + bias.astype(self.dtype)
        return y


class ActivatedBatchNorm(nn.Module):
    """Batch norm and activation in one.

    `y = f((x - mean) / sqrt(var + epsilon) * (|scale| + 1e-5) + bias)`.

    The published network uses the leaky ReLU with slope 0.01 for f, and the absolute value of the scale (in-place
    activated batch norm, arXiv 1712.02616); `absolute_scale=False` is ordinary batch norm.

    In training, mean and biased variance are those of the batch over all axes but the last, and over the devices of
    `axis_name`; the running values in `batch_stats` (`mean`, `var`; the variance unbiased) become
    `momentum * running + (1 - momentum) * batch`. Otherwise the running values are used.

    Attributes:
      activation: f: "leaky_relu", "relu", "relu6" or "none".
      absolute_scale: whether `|scale| + 1e-5` replaces `scale`.
      epsilon: added to the variance.
      momentum: decay of the running values.
      axis_name: mapped axis over which to synchronize, or None.
      dtype: dtype of the result; statistics are computed in at least float32.
    """

    activation: Activation = "leaky_relu"
    absolute_scale: bool = True
    epsilon: float = EPSILON
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
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            offset = bias - running_mean.value * factor
            return activate(x.astype(dtype) * factor + offset, self.activation).astype(self.dtype)
        normalized = activated_batch_norm(
            x, scale, bias, running_mean.value, self.activation, self.epsilon, self.axis_name
        )
        y, mean, var = normalized  # pyright: ignore[reportGeneralTypeIssues]  # custom_vjp hides the type
        if not self.is_initializing():
            count = count_values(x, self.axis_name)
            unbiased = var * (count / max(count - 1, 1))
            running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
        return y


def remat(block: type[Block]) -> type[Block]:
    """A module called with (x, train) whose backward pass recomputes it, apart from the statistics of batch norms."""
    policy = jax.checkpoint_policies.save_only_these_names(BATCH_STATISTICS)
    return nn.remat(block, static_argnums=(2,), policy=policy)


@dataclasses.dataclass(frozen=True)
class LayerFactory:
    """Makes layers with the settings that all layers of a network share.

    Attributes:
      dtype: compute dtype.
      momentum: decay of the running values of every batch norm.
      axis_name: mapped axis over which batch norm is synchronized, or None.
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
        """Applies a convolution and an activated batch norm named `name_0` and `name_1`, or counted from `first`."""
        x = self.conv(features, kernel_size, name=f"{name}_{first}", **fields)(x)
        return self.norm(name=f"{name}_{first + 1}")(x, train)
