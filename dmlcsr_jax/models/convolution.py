"""Two-dimensional convolution that is quick on the CPU as well.

XLA's convolutions on the CPU leave much of the processor idle, above all in their gradients: the weight gradient
of a 1x1 convolution runs at a tenth of the speed of the same matrix product, that of a 3x3 convolution at a
quarter of the speed of Winograd's algorithm, depthwise convolutions slower still. In float32 on the CPU this file
computes them in other ways; `python -m benchmarks.convolution` shows what each one gains:

  1x1                   matrix products
  depthwise             a sum of shifted pictures, one a tap
  3x3, stride 1         Winograd's F(4x4, 3x3), where the channels are many enough to pay for its transforms
  3x3, stride 2         one matrix product for the weight gradient

Every other case, dtype and platform gets `jax.lax.conv_general_dilated` as it is.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
Geometry = tuple[int, int, int]  # strides, dilation, groups

# F(4x4, 3x3) of Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, §4:
# in one dimension, 4 outputs of a 3-tap filter g on 6 inputs d are OUTPUT [(KERNEL g) * (INPUT d)].
TILE = 4
PARTS = 3  # of the 36 products, where those of all at once would be too much
WIDEST = 512 * 512  # channels in times channels out that a kernel may have to be transformed at once
INPUT = np.array(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
)  # fmt: skip
KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
KERNEL_2D = np.einsum("jq,ip->jipq", KERNEL, KERNEL).astype(np.float32)  # [6 (W), 6 (H), 3 (H), 3 (W)]
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


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
      dilation: distance between neighbouring taps of the kernel.
      groups: number of groups of channels; groups == I == O is a depthwise convolution.
      transformed: `transform_kernel(kernel)`, to save time where one kernel serves many pictures on a CPU.

    Returns:
      [B, ceil(H / strides), ceil(W / strides), O] of the dtype of x, differentiable (reverse mode) in both arguments.
    """
    geometry = (strides, dilation, groups)
    if not x.dtype == kernel.dtype == jnp.float32:
        return _direct(x, kernel, geometry)
    if transformed is not None and _suits_winograd(x, kernel, geometry):
        return _winograd_products(x, transformed, dilation)
    return _by_platform(*_equally_varying(x, kernel), geometry)


def transform_kernel(kernel: Array) -> list[Array] | None:
    """A float32 kernel [3, 3, I, O] as Winograd's products take it, 3 of [6, 2, I, O]; None where that does not pay."""
    return _transform(KERNEL_2D, kernel, PARTS) if _is_wide(kernel) else None


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
        return _winograd(x, kernel, dilation)
    return _direct(x, kernel, geometry)


def _cpu_gradients(geometry: Geometry, x: Array, kernel: Array, gradient: Array) -> tuple[Array, Array]:
    strides, dilation, groups = geometry
    if kernel.shape[:2] == (1, 1) and groups == 1:
        return _product_gradients(x, kernel, gradient, strides)
    if not (kernel.shape[:2] == (3, 3) and groups == 1):
        return jax.vjp(partial(_cpu, geometry=geometry), x, kernel)[1](gradient)
    if _suits_winograd(x, kernel, geometry) and _is_wide(kernel):
        x_gradient = _winograd(gradient, kernel, dilation, transposed=True)
    elif strides == 1:  # the input gradient of a convolution is one with the kernel turned round
        x_gradient = _direct(gradient, kernel[::-1, ::-1].swapaxes(2, 3), geometry)
    else:
        (x_gradient,) = jax.vjp(lambda x: _direct(x, kernel, geometry), x)[1](gradient)
    if _suits_winograd(x, kernel, geometry) and kernel.shape[2] * kernel.shape[3] >= 512:
        kernel_gradient = _winograd_kernel_gradient(x, gradient, dilation, _parts(kernel))
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


@partial(jax.jit, static_argnames=("dilation", "transposed"))
def _winograd(x: Array, kernel: Array, dilation: int, transposed: bool = False) -> Array:
    """3x3 convolution, stride 1, by F(4x4, 3x3): 36 products of matrices [B H W / 16, I] and [I, O].

    `transposed` computes the gradient by the input from that by the output: the same with the kernel turned round.
    """
    taps = KERNEL_2D[:, :, ::-1, ::-1] if transposed else KERNEL_2D
    return _winograd_products(x, _transform(_after(x, taps), kernel, _parts(kernel)), dilation, transposed)


def _winograd_products(x: Array, kernel: Sequence[Array], dilation: int, transposed: bool = False) -> Array:
    """`_winograd` with a kernel already transformed, in as many parts as that is in."""
    if dilation > 1:
        y = _winograd_products(_scatter(x, dilation), kernel, 1, transposed)
        return _gather(y, dilation, x.shape)
    product = "jibhwo,jico->jibhwc" if transposed else "jibhwc,jico->jibhwo"
    padded = jnp.pad(_pad_to_multiple(x, TILE), ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = []
    for tiles, weights in zip(_tiles(INPUT, padded, (1, 2), len(kernel)), kernel, strict=True):
        rows.extend(jnp.stack(_combine(OUTPUT, jnp.einsum(product, tiles, weights)), axis=4))
    # One reshape at the end: with another in between, XLA computes `rows` twice.
    y = jnp.stack(_combine(OUTPUT, rows), axis=2)
    batch, high, _, wide, _, channels = y.shape
    return y.reshape(batch, high * TILE, wide * TILE, channels)[:, : x.shape[1], : x.shape[2]]


@partial(jax.jit, static_argnames=("dilation", "parts"))
def _winograd_kernel_gradient(x: Array, gradient: Array, dilation: int, parts: int) -> Array:
    """Gradient of `_winograd` in the kernel: the transposed transforms around 36 products [I, B H W / 16] [.., O].

    Columns are in front of rows here: if these were the tiles of `_winograd`, XLA would keep those until now.
    """
    if dilation > 1:
        return _winograd_kernel_gradient(_scatter(x, dilation), _scatter(gradient, dilation), 1, parts)
    padded = jnp.pad(_pad_to_multiple(x, TILE), ((0, 0), (1, 1), (1, 1), (0, 0)))
    inputs = _tiles(INPUT, padded, (2, 1), parts)
    gradients = _tiles(OUTPUT.T, _pad_to_multiple(gradient, TILE), (2, 1), parts)
    columns = []
    for both in zip(inputs, gradients, strict=True):
        pixels = (tiles.reshape(*tiles.shape[:2], -1, tiles.shape[-1]) for tiles in both)
        columns.extend(jnp.stack(_combine(KERNEL.T, jnp.einsum("ijnc,ijno->ijco", *pixels)), axis=1))
    return jnp.stack(_combine(KERNEL.T, columns), axis=1)


def _parts(kernel: Array) -> int:
    """In how many parts it pays to compute, so that what one needs is not too much for the cache or the memory."""
    return PARTS if kernel.shape[2] * kernel.shape[3] > WIDEST else 1


def _transform(taps: Array, kernel: Array, parts: int) -> list[Array]:
    """The transformed kernel in parts of some rows, [6 (W), 6 / parts (H), I, O] each."""
    return [jnp.tensordot(rows, kernel, 2) for rows in jnp.split(taps, parts, axis=1)]


def _after(x: Array, constant: np.ndarray) -> Array:
    """The constant, but not before x is there: else XLA transforms all kernels at the start and holds them all."""
    return constant + 0 * x[(0,) * x.ndim]


def _tiles(matrix: np.ndarray, x: Array, axes: tuple[int, int], parts: int) -> Iterator[Array]:
    """Transforms tiles that begin at every fourth pixel, along axes[0] and then axes[1], by a [6, length] matrix.

    Gives parts [6 (along axes[1]), 6 / parts (along axes[0]), B, ceil(H / 4), ceil(W / 4), C]. Only rows and columns of
    whole arrays are combined, and stacked in front, so that the channels stay innermost.
    """
    outer = _combine(matrix, _every_tile(x, matrix.shape[1], axes[0]))
    for start in range(0, len(outer), len(outer) // parts):
        some = jnp.stack(outer[start : start + len(outer) // parts])
        yield jnp.stack(_combine(matrix, _every_tile(some, matrix.shape[1], axes[1] + 1)))


def _every_tile(x: Array, taps: int, axis: int) -> list[Array]:
    """For each tap, its pixel in all tiles."""
    length = x.shape[axis] // TILE * TILE - TILE + 1
    return [lax.slice_in_dim(x, tap, tap + length, TILE, axis) for tap in range(taps)]


def _combine(matrix: np.ndarray, arrays: Iterable[Array]) -> list[Array]:
    """sum_j matrix[i, j] arrays[j] for each i, leaving out zeros."""
    arrays = list(arrays)
    return [sum(float(m) * array for m, array in zip(row, arrays, strict=True) if m) for row in matrix]


def _pad_to_multiple(x: Array, step: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % step), (0, -x.shape[2] % step), (0, 0)))


def _scatter(x: Array, step: int) -> Array:
    """Moves every step-th row and column into a picture of its own: [B step², ceil(H / step), ceil(W / step), C]."""
    x = _pad_to_multiple(x, step)
    b, h, w, c = x.shape
    x = x.reshape(b, h // step, step, w // step, step, c).transpose(0, 2, 4, 1, 3, 5)
    return x.reshape(b * step * step, *x.shape[3:])


def _gather(x: Array, step: int, shape: tuple[int, ...]) -> Array:
    """Puts the pictures of `_scatter` together again, to the batch and size of `shape`."""
    _, h, w, c = x.shape
    x = x.reshape(shape[0], step, step, h, w, c).transpose(0, 3, 1, 4, 2, 5)
    return x.reshape(shape[0], step * h, step * w, c)[:, : shape[1], : shape[2]]
