"""Two-dimensional convolution that is fast on the CPU as well.

XLA's CPU convolutions leave much of the processor idle, above all in their gradients: the weight gradient of a 1x1
convolution runs at a tenth of the speed of the same matrix product, that of a 3x3 convolution at a quarter of the speed
of Winograd's algorithm, and depthwise convolutions are slower still. In float32 on the CPU this file computes them
differently; `python -m benchmarks.convolution` measures the gain of each method:

  1x1                   matrix products
  depthwise             sums of shifted images; kernel gradients block by block (depthwise.py)
  3x3, stride 1         Winograd's algorithm (winograd.py), if there are enough channels to pay for its transforms
  3x3, stride 2         one matrix product for the weight gradient

Winograd's algorithm also needs enough pixels to pay for the transform of the kernel; fewer if that comes transformed.

Every other case, dtype and platform uses `jax.lax.conv_general_dilated` unchanged.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dmlcsr_jax.ops import depthwise, winograd
from dmlcsr_jax.ops.geometry import Geometry, Padding

Array = jax.Array

_LEAST_PIXELS = 512  # of a batch that pay for the transform of a kernel
_LEAST_PIXELS_TRANSFORMED = 128  # if it comes transformed


def convolution(
    x: Array,
    kernel: Array,
    *,
    strides: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padding: Padding = "centered",
    transformed: Sequence[Array] | None = None,
) -> Array:
    """Convolution with odd kernels, padded with zeros so that stride 1 keeps the size, without bias.

    y[b, h, w, o] = sum_{i, j, c} x[b, s h + d i - p_h, s w + d j - p_w, c] kernel[i, j, c, o], where s is the
    stride, d the dilation, p the padding in front, and x is zero outside the image.

    "centered" padding is PyTorch's, p = d (k - 1) / 2 on both sides. "same" is TensorFlow's SAME: in total
    max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0) for an axis of n pixels, the smaller half in front. They differ only
    for strides above 1.

    On the CPU in float32 the values are within 1e-4 and the gradients within 1e-3 of those of
    `jax.lax.conv_general_dilated`, relative to the largest; otherwise they are equal.

    Args:
      x: [B, H, W, I].
      kernel: [k_h, k_w, I / groups, O] of the dtype of x; k_h and k_w odd.
      strides: step along both axes.
      dilation: distance between neighboring taps of the kernel.
      groups: number of groups of channels; groups == I == O is a depthwise convolution.
      padding: "centered" or "same".
      transformed: `transform_kernel(kernel)`, which saves time if one kernel serves many images on a CPU.

    Returns:
      [B, ceil(H / strides), ceil(W / strides), O] of the dtype of x, differentiable (reverse mode) in both arguments.
    """
    geometry = Geometry(strides, dilation, groups, padding if strides > 1 else "centered")
    if not x.dtype == kernel.dtype == jnp.float32:
        return _direct(x, kernel, geometry)
    if transformed is not None and _suits_winograd(x, kernel, geometry, _LEAST_PIXELS_TRANSFORMED):
        return winograd.products(x, transformed, dilation)
    return _by_platform(*_equally_varying(x, kernel), geometry)


def transform_kernel(kernel: Array) -> list[Array] | None:
    """Transforms a float32 kernel [3, 3, I, O] for Winograd's products.

    Returns:
      3 arrays [6, 2, I, O], or None for kernels that are faster without.
    """
    return winograd.transform(kernel, winograd.PARTS) if _is_wide(kernel) else None


def _direct(x: Array, kernel: Array, geometry: Geometry) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(geometry.strides,) * 2,
        padding=_pads(x, kernel.shape, geometry),
        rhs_dilation=(geometry.dilation,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def _pads(x: Array, kernel_shape: tuple[int, ...], geometry: Geometry) -> list[tuple[int, int]]:
    """Padding of height and width."""
    return [geometry.pads(length, taps) for length, taps in zip(x.shape[1:3], kernel_shape[:2], strict=True)]


# Both directions are jitted, so that equal layers of a network are traced once.
@partial(jax.custom_vjp, nondiff_argnums=(2,))
@partial(jax.jit, static_argnums=2)
def _by_platform(x: Array, kernel: Array, geometry: Geometry) -> Array:
    on_cpu, elsewhere = partial(_cpu, geometry=geometry), partial(_direct, geometry=geometry)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=elsewhere)


def _by_platform_forward(x: Array, kernel: Array, geometry: Geometry) -> tuple[Array, tuple[Array, Array]]:
    return _by_platform(x, kernel, geometry), (x, kernel)


@partial(jax.jit, static_argnums=0)
def _by_platform_backward(geometry: Geometry, residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    def elsewhere(x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
        return jax.vjp(partial(_direct, geometry=geometry), x, kernel)[1](gradient)

    return lax.platform_dependent(*residuals, gradient, cpu=partial(_cpu_gradients, geometry), default=elsewhere)


_by_platform.defvjp(_by_platform_forward, _by_platform_backward)


def _equally_varying(*arrays: Array) -> list[Array]:
    """Inside shard_map, marks all arrays as varying over the axes that any of them varies over.

    The gradient of this mark sums over those axes, which a custom gradient would otherwise have to do itself.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    missing = [tuple(frozenset().union(*varying) - axes) for axes in varying]
    return [lax.pcast(array, m, to="varying") if m else array for array, m in zip(arrays, missing, strict=True)]


def _cpu(x: Array, kernel: Array, geometry: Geometry) -> Array:
    if _is_depthwise(x, kernel, geometry):
        return depthwise.convolution(x, kernel, geometry)
    if kernel.shape[:2] == (1, 1) and geometry.groups == 1:
        return lax.dot_general(_strided(x, geometry), kernel[0, 0], (((3,), (0,)), ((), ())))
    if _suits_winograd(x, kernel, geometry) and _is_wide(kernel):
        return winograd.convolution(x, kernel, geometry.dilation)
    return _direct(x, kernel, geometry)


def _cpu_gradients(geometry: Geometry, x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
    if kernel.shape[:2] == (1, 1) and geometry.groups == 1:
        return _product_gradients(x, kernel, gradient, geometry)
    if _is_depthwise(x, kernel, geometry):
        return depthwise.gradients(x, kernel, gradient, geometry)
    if not (kernel.shape[:2] == (3, 3) and geometry.groups == 1):
        return jax.vjp(partial(_cpu, geometry=geometry), x, kernel)[1](gradient)
    return _input_gradient(x, kernel, gradient, geometry), _kernel_gradient(x, kernel, gradient, geometry)


def _input_gradient(x: Array, kernel: Array, gradient: Array, geometry: Geometry) -> Array:
    """Of a 3x3 convolution."""
    if _suits_winograd(x, kernel, geometry) and _is_wide(kernel):
        return winograd.convolution(gradient, kernel, geometry.dilation, transposed=True)
    if geometry.strides == 1:  # it is the convolution of the gradient with the rotated kernel
        return _direct(gradient, kernel[::-1, ::-1].swapaxes(2, 3), geometry)
    return jax.vjp(lambda x: _direct(x, kernel, geometry), x)[1](gradient)[0]


def _kernel_gradient(x: Array, kernel: Array, gradient: Array, geometry: Geometry) -> Array:
    """Of a 3x3 convolution."""
    if _suits_winograd(x, kernel, geometry) and kernel.shape[2] * kernel.shape[3] >= 512:
        return winograd.kernel_gradient(x, gradient, geometry.dilation)
    if geometry.strides == 1:
        return jax.vjp(lambda kernel: _direct(x, kernel, geometry), kernel)[1](gradient)[0]
    taps = jnp.stack(_taps(x, kernel.shape, geometry))
    return lax.dot_general(taps, gradient, (((1, 2, 3), (0, 1, 2)), ((), ()))).reshape(kernel.shape)


def _product_gradients(x: Array, kernel: Array, gradient: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Of a 1x1 convolution. XLA copies the first factor of the kernel gradient, transposed: the much narrower one."""
    pixels, over_pixels = _strided(x, geometry), (((0, 1, 2), (0, 1, 2)), ((), ()))
    if kernel.shape[2] < 4 * kernel.shape[3]:
        kernel_gradient = lax.dot_general(pixels, gradient, over_pixels)
    else:
        kernel_gradient = lax.dot_general(gradient, pixels, over_pixels).T
    x_gradient = lax.dot_general(gradient, kernel[0, 0], (((3,), (1,)), ((), ())))
    if geometry.strides > 1:
        (x_gradient,) = jax.vjp(lambda x: _strided(x, geometry), x)[1](x_gradient)
    return x_gradient, kernel_gradient[None, None]


def _strided(x: Array, geometry: Geometry) -> Array:
    """The pixels that a 1x1 convolution reads; no padding moves them."""
    return x[:, :: geometry.strides, :: geometry.strides]


def _taps(x: Array, kernel_shape: tuple[int, ...], geometry: Geometry) -> list[Array]:
    """The inputs of each tap of the kernel, row by row: [B, ceil(H / strides), ceil(W / strides), I] each."""
    height, width = (geometry.strides * (geometry.outputs(length) - 1) + 1 for length in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), *_pads(x, kernel_shape, geometry), (0, 0)))
    starts = [[geometry.dilation * tap for tap in range(taps)] for taps in kernel_shape[:2]]
    step = geometry.strides
    return [x[:, i : i + height : step, j : j + width : step] for i in starts[0] for j in starts[1]]


def _is_depthwise(x: Array, kernel: Array, geometry: Geometry) -> bool:
    return geometry.groups > 1 and geometry.groups == x.shape[-1] == kernel.shape[-1]


def _suits_winograd(x: Array, kernel: Array, geometry: Geometry, least_pixels: int = _LEAST_PIXELS) -> bool:
    """Whether F(4x4, 3x3) applies, and there are enough pixels for it to pay.

    A batch of symbolic size (`jax.export`) counts as one image.
    """
    pixels = math.prod(length for length in x.shape[:3] if isinstance(length, int))
    return kernel.shape[:2] == (3, 3) and geometry.strides == geometry.groups == 1 and pixels >= least_pixels


def _is_wide(kernel: Array) -> bool:
    """Whether a 3x3 kernel has enough channels for its products to outweigh the transforms of the images."""
    return kernel.shape[:2] == (3, 3) and min(kernel.shape[2:]) >= 64
