"""Two-dimensional convolution that is quick on the CPU as well.

XLA's convolutions on the CPU leave much of the processor idle, above all in their gradients: the weight gradient
of a 1x1 convolution runs at a tenth of the speed of the same matrix product, that of a 3x3 convolution at a
quarter of the speed of Winograd's algorithm, depthwise convolutions slower still. In float32 on the CPU this file
computes them in other ways; `python -m benchmarks.convolution` shows what each one gains:

  1x1                   matrix products
  depthwise             a sum of shifted pictures, one a tap
  3x3, stride 1         Winograd's algorithm (winograd.py), where the channels are many enough to pay for its transforms
  3x3, stride 2         one matrix product for the weight gradient

Every other case, dtype and platform gets `jax.lax.conv_general_dilated` as it is.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dmlcsr_jax.ops import winograd

Array = jax.Array
Geometry = tuple[int, int, int]  # strides, dilation, groups


def convolution(
    x: Array,
    kernel: Array,
    *,
    strides: int = 1,
    dilation: int = 1,
    groups: int = 1,
    transformed: Sequence[Array] | None = None,
) -> Array:
    """Convolution with odd kernels, padded with zeros so that stride 1 keeps the size, without bias.

    y[b, h, w, o] = sum_{i, j, c} x[b, s h + d i - p_h, s w + d j - p_w, c] kernel[i, j, c, o], where s is the
    stride, d the dilation, p = d (k - 1) / 2, and x is zero outside the picture.

    On the CPU in float32 the values lie within 1e-4 and the gradients within 1e-3 of those of
    `jax.lax.conv_general_dilated`, relative to the largest; otherwise they are exactly those.

    Args:
      x: [B, H, W, I].
      kernel: [k_h, k_w, I / groups, O] of the dtype of x; k_h and k_w odd.
      strides: step along both axes.
      dilation: distance between neighboring taps of the kernel.
      groups: number of groups of channels; groups == I == O is a depthwise convolution.
      transformed: `transform_kernel(kernel)`, to save time where one kernel serves many pictures on a CPU.

    Returns:
      [B, ceil(H / strides), ceil(W / strides), O] of the dtype of x, differentiable (reverse mode) in both arguments.
    """
    geometry = (strides, dilation, groups)
    if not x.dtype == kernel.dtype == jnp.float32:
        return _direct(x, kernel, geometry)
    if transformed is not None and _suits_winograd(x, kernel, geometry):
        return winograd.products(x, transformed, dilation)
    return _by_platform(*_equally_varying(x, kernel), geometry)


def transform_kernel(kernel: Array) -> list[Array] | None:
    """A float32 kernel [3, 3, I, O] as Winograd's products take it, 3 of [6, 2, I, O]; None where that does not pay."""
    return winograd.transform(kernel, winograd.PARTS) if _is_wide(kernel) else None


def _direct(x: Array, kernel: Array, geometry: Geometry) -> Array:
    strides, dilation, groups = geometry
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(strides, strides),
        padding=[(dilation * (k - 1) // 2,) * 2 for k in kernel.shape[:2]],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


# Both ways are jitted, so that the equal layers of a network are traced once.
@partial(jax.custom_vjp, nondiff_argnums=(2,))
@partial(jax.jit, static_argnums=2)
def _by_platform(x: Array, kernel: Array, geometry: Geometry) -> Array:
    on_cpu, elsewhere = partial(_cpu, geometry=geometry), partial(_direct, geometry=geometry)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=elsewhere)


def _by_platform_forward(x: Array, kernel: Array, geometry: Geometry):
    return _by_platform(x, kernel, geometry), (x, kernel)


@partial(jax.jit, static_argnums=0)
def _by_platform_backward(geometry: Geometry, residuals: tuple[Array, Array], gradient: Array):
    def elsewhere(x, kernel, gradient):
        return jax.vjp(partial(_direct, geometry=geometry), x, kernel)[1](gradient)

    return lax.platform_dependent(*residuals, gradient, cpu=partial(_cpu_gradients, geometry), default=elsewhere)


_by_platform.defvjp(_by_platform_forward, _by_platform_backward)


def _equally_varying(*arrays: Array) -> list[Array]:
    """Inside shard_map, marks all arrays as varying over the axes that any of them varies over.

    The gradient of that mark is the sum over those axes, which a custom gradient would otherwise owe.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    missing = [tuple(frozenset().union(*varying) - axes) for axes in varying]
    return [lax.pcast(array, m, to="varying") if m else array for array, m in zip(arrays, missing, strict=True)]


def _cpu(x: Array, kernel: Array, geometry: Geometry) -> Array:
    strides, dilation, groups = geometry
    if groups > 1 and groups == x.shape[-1] == kernel.shape[-1]:
        taps = _taps(x, kernel.shape, geometry)
        return sum(tap * weights for tap, weights in zip(taps, kernel.reshape(-1, groups), strict=True))
    if kernel.shape[:2] == (1, 1) and groups == 1:
        return lax.dot_general(x[:, ::strides, ::strides], kernel[0, 0], (((3,), (0,)), ((), ())))
    if _suits_winograd(x, kernel, geometry) and _is_wide(kernel):
        return winograd.convolution(x, kernel, dilation)
    return _direct(x, kernel, geometry)


def _cpu_gradients(geometry: Geometry, x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
    strides, dilation, groups = geometry
    if kernel.shape[:2] == (1, 1) and groups == 1:
        return _product_gradients(x, kernel, gradient, strides)
    if not (kernel.shape[:2] == (3, 3) and groups == 1):
        return jax.vjp(partial(_cpu, geometry=geometry), x, kernel)[1](gradient)
    if _suits_winograd(x, kernel, geometry) and _is_wide(kernel):
        x_gradient = winograd.convolution(gradient, kernel, dilation, transposed=True)
    elif strides == 1:  # the input gradient of a convolution is one with the kernel turned round
        x_gradient = _direct(gradient, kernel[::-1, ::-1].swapaxes(2, 3), geometry)
    else:
        (x_gradient,) = jax.vjp(lambda x: _direct(x, kernel, geometry), x)[1](gradient)
    if _suits_winograd(x, kernel, geometry) and kernel.shape[2] * kernel.shape[3] >= 512:
        kernel_gradient = winograd.kernel_gradient(x, gradient, dilation)
    elif strides > 1:
        taps = jnp.stack(_taps(x, kernel.shape, geometry))
        kernel_gradient = lax.dot_general(taps, gradient, (((1, 2, 3), (0, 1, 2)), ((), ()))).reshape(kernel.shape)
    else:
        (kernel_gradient,) = jax.vjp(lambda kernel: _direct(x, kernel, geometry), kernel)[1](gradient)
    return x_gradient, kernel_gradient


def _product_gradients(x: Array, kernel: Array, gradient: Array, strides: int) -> tuple[Array, Array]:
    """Of a 1x1 convolution: products in the order that needs no transposed copy of a picture."""
    kernel_gradient = lax.dot_general(x[:, ::strides, ::strides], gradient, (((0, 1, 2), (0, 1, 2)), ((), ())))
    x_gradient = lax.dot_general(gradient, kernel[0, 0], (((3,), (1,)), ((), ())))
    if strides > 1:
        (x_gradient,) = jax.vjp(lambda x: x[:, ::strides, ::strides], x)[1](x_gradient)
    return x_gradient, kernel_gradient[None, None]


def _taps(x: Array, kernel_shape: tuple[int, ...], geometry: Geometry) -> list[Array]:
    """What each tap of the kernel, row by row, meets: [B, ceil(H / strides), ceil(W / strides), I] each."""
    strides, dilation, _ = geometry
    heights, widths = (dilation * np.arange(k) for k in kernel_shape[:2])
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (heights[-1] // 2,) * 2, (widths[-1] // 2,) * 2, (0, 0)))
    return [x[:, i : i + h : strides, j : j + w : strides] for i in heights for j in widths]


def _suits_winograd(x: Array, kernel: Array, geometry: Geometry) -> bool:
    """Whether F(4x4, 3x3) applies, and the pixels outweigh the transform of the kernel.

    A batch whose size is a symbol (`jax.export`) counts as one picture.
    """
    strides, _, groups = geometry
    pixels = math.prod(length for length in x.shape[:3] if isinstance(length, int))
    return kernel.shape[:2] == (3, 3) and strides == groups == 1 and pixels >= 512


def _is_wide(kernel: Array) -> bool:
    """Whether a 3x3 kernel has channels enough for the products to outweigh the transforms of the pictures."""
    return kernel.shape[:2] == (3, 3) and min(kernel.shape[2:]) >= 64
