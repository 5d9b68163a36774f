"""3x3 convolution with stride 1 by Winograd's algorithm, in float32 on the CPU.

F(4x4, 3x3) of Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, §4: in one
dimension, 4 outputs of a 3-tap filter g on 6 inputs d are OUTPUT [(KERNEL g) * (INPUT d)]; in two, a tile of 4x4 takes
36 multiplications instead of 144. With channels these are 36 products of matrices [tiles, I] and [I, O]. A dilated
convolution does the same on several images, each of which consists of every second (third, ...) row and column.
"""

import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

TILE = 4
PARTS = 3  # in which large products are computed, to limit memory
WIDEST = 512 * 512  # input times output channels up to which a kernel is transformed in one part
INPUT = np.array(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
)  # fmt: skip
KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
KERNEL_2D = np.einsum("jq,ip->jipq", KERNEL, KERNEL).astype(np.float32)  # [6 (W), 6 (H), 3 (H), 3 (W)]
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


@partial(jax.jit, static_argnames=("dilation", "transposed"))
def convolution(x: Array, kernel: Array, dilation: int, transposed: bool = False) -> Array:
    """3x3 convolution, stride 1, padded with zeros: [B, H, W, I], [3, 3, I, O] -> [B, H, W, O], float32.

    `transposed` computes the gradient in the input from that in the output: the same with the kernel rotated.
    """
    taps = KERNEL_2D[:, :, ::-1, ::-1] if transposed else KERNEL_2D
    return products(x, transform(kernel, _parts(*kernel.shape[2:]), _after(x, taps)), dilation, transposed)


def transform(kernel: Array, parts: int, taps: Array | np.ndarray = KERNEL_2D) -> list[Array]:
    """A kernel [3, 3, I, O] in the form of `products`, in parts of some rows: [6 (W), 6 / parts (H), I, O] each."""
    return [jnp.tensordot(rows, kernel, 2) for rows in jnp.split(taps, parts, axis=1)]


def products(x: Array, kernel: Sequence[Array], dilation: int, transposed: bool = False) -> Array:
    """`convolution` with a transformed kernel, in as many parts as the kernel has."""
    if dilation > 1:
        y = products(_scatter(x, dilation), kernel, 1, transposed)
        return _gather(y, dilation, x.shape)
    product = "jibhwo,jico->jibhwc" if transposed else "jibhwc,jico->jibhwo"
    rows = []
    for tiles, weights in zip(_input_tiles(x, (1, 2), len(kernel)), kernel, strict=True):
        rows.extend(jnp.stack(_combine(OUTPUT, jnp.einsum(product, tiles, weights)), axis=4))
    # A single reshape at the end: with another in between, XLA computes `rows` twice.
    y = jnp.stack(_combine(OUTPUT, rows), axis=2)
    batch, high, _, wide, _, channels = y.shape
    return y.reshape(batch, high * TILE, wide * TILE, channels)[:, : x.shape[1], : x.shape[2]]


@partial(jax.jit, static_argnames="dilation")
def kernel_gradient(x: Array, gradient: Array, dilation: int) -> Array:
    """Gradient of `convolution` in the kernel: the transposed transforms around 36 products [I, B H W / 16] [.., O].

    Tiles are transformed along columns first: if they were those of `convolution`, XLA would keep them from the forward
    pass.
    """
    if dilation > 1:
        return kernel_gradient(_scatter(x, dilation), _scatter(gradient, dilation), 1)
    parts = _parts(x.shape[-1], gradient.shape[-1])
    inputs = _input_tiles(x, (2, 1), parts)
    gradients = _tiles(OUTPUT.T, _pad_to_multiple(gradient, TILE), (2, 1), parts)
    columns = []
    for both in zip(inputs, gradients, strict=True):
        pixels = (tiles.reshape(*tiles.shape[:2], -1, tiles.shape[-1]) for tiles in both)
        columns.extend(jnp.stack(_combine(KERNEL.T, jnp.einsum("ijnc,ijno->ijco", *pixels)), axis=1))
    return jnp.stack(_combine(KERNEL.T, columns), axis=1)


def _parts(channels_in: int, channels_out: int) -> int:
    """The number of parts, which keeps each small enough for cache and memory."""
    return PARTS if channels_in * channels_out > WIDEST else 1


def _after(x: Array, constant: np.ndarray) -> Array:
    """The constant, available only after x: otherwise XLA transforms all kernels at the start and keeps them."""
    return jnp.add(constant, 0 * x[(0,) * x.ndim])


def _input_tiles(x: Array, axes: tuple[int, int], parts: int) -> Iterator[Array]:
    """`_tiles` of 6x6 pixels that overlap by 2, of images padded with zeros."""
    return _tiles(INPUT, jnp.pad(_pad_to_multiple(x, TILE), ((0, 0), (1, 1), (1, 1), (0, 0))), axes, parts)


def _tiles(matrix: np.ndarray, x: Array, axes: tuple[int, int], parts: int) -> Iterator[Array]:
    """Transforms tiles that start at every fourth pixel, along axes[0] and then axes[1], by a [6, length] matrix.

    Yields parts [6 (along axes[1]), 6 / parts (along axes[0]), B, ceil(H / 4), ceil(W / 4), C]. Combines only rows and
    columns of whole arrays, stacked in front, which keeps the channels innermost.
    """
    outer = _combine(matrix, _every_tile(x, matrix.shape[1], axes[0]))
    for start in range(0, len(outer), len(outer) // parts):
        some = jnp.stack(outer[start : start + len(outer) // parts])
        yield jnp.stack(_combine(matrix, _every_tile(some, matrix.shape[1], axes[1] + 1)))


def _every_tile(x: Array, taps: int, axis: int) -> list[Array]:
    """For each tap, its pixels in all tiles."""
    length = x.shape[axis] // TILE * TILE - TILE + 1
    return [lax.slice_in_dim(x, tap, tap + length, TILE, axis) for tap in range(taps)]


def _combine(matrix: np.ndarray, arrays: Iterable[Array]) -> list[Array]:
    """sum_j matrix[i, j] arrays[j] for each i, skipping zeros."""
    arrays = list(arrays)
    return [reduce(operator.add, (float(m) * a for m, a in zip(row, arrays, strict=True) if m)) for row in matrix]


def _pad_to_multiple(x: Array, step: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % step), (0, -x.shape[2] % step), (0, 0)))


def _scatter(x: Array, step: int) -> Array:
    """Splits images by every step-th row and column: [B step², ceil(H / step), ceil(W / step), C]."""
    x = _pad_to_multiple(x, step)
    b, h, w, c = x.shape
    x = x.reshape(b, h // step, step, w // step, step, c).transpose(0, 2, 4, 1, 3, 5)
    return x.reshape(b * step * step, *x.shape[3:])


def _gather(x: Array, step: int, shape: tuple[int, ...]) -> Array:
    """The inverse of `_scatter`, to the batch and size of `shape`."""
    _, h, w, c = x.shape
    x = x.reshape(shape[0], step, step, h, w, c).transpose(0, 3, 1, 4, 2, 5)
    return x.reshape(shape[0], step * h, step * w, c)[:, : shape[1], : shape[2]]
