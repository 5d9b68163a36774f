"""Depthwise convolution of float32 images on the CPU, in few passes over memory.

Forward and input gradient are sums of shifted images, one per tap, which XLA computes in one loop. The kernel gradient
walks over blocks of pixels that stay in the cache: a slice [B, k_h, k_w, C] of the images around a pixel, times the
gradient at that pixel, is what the pixel adds to all taps. `benchmarks/convolution.py` times all three.

Both directions pad images and gradients alike, so that the compiler pads each of them once, within the loop that
computes it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dmlcsr_jax.ops.geometry import Geometry

Array = jax.Array
_BLOCKS = (4, 8)  # pixels in a block at most; with many more, XLA's loops get slow to compile and to run


class _Axis(NamedTuple):
    """Height or width."""

    length: int
    taps: int
    strides: int
    dilation: int
    front: int
    outputs: int
    largest: int

    @property
    def blocks(self) -> int:
        return -(-self.outputs // self.largest)

    @property
    def block(self) -> int:
        """Pixels of the result in a block; the last block may reach beyond the image."""
        return -(-self.outputs // self.blocks)

    def reach(self, outputs: int) -> int:
        """Pixels that so many neighboring pixels of the result read."""
        return self.strides * (outputs - 1) + self.dilation * (self.taps - 1) + 1

    def around(self, output: int) -> slice:
        """The pixels under the taps for pixel `output` of a block."""
        start = self.strides * output
        return slice(start, start + self.dilation * (self.taps - 1) + 1, self.dilation)

    @property
    def pads(self) -> tuple[int, int, int]:
        """Of the images, for `lax.pad`."""
        return self.front, self.reach(self.block * self.blocks) - self.length - self.front, 0

    @property
    def shifts(self) -> dict[int, list[int]]:
        """The taps through which the pixels s q, s q + 1, ... s q + s - 1 of the image reach pixel q + shift.

        `taps` stands for none.
        """
        found: dict[int, list[int]] = {}
        for phase in range(self.strides):
            for tap in range(self.taps):
                shift, rest = divmod(phase + self.front - self.dilation * tap, self.strides)
                if rest == 0:
                    found.setdefault(shift, [self.taps] * self.strides)[phase] = tap
        return found

    @property
    def steps(self) -> int:
        """Pixels of the image over the stride, rounded up."""
        return -(-self.length // self.strides)

    @property
    def gradient_pads(self) -> tuple[int, int, int]:
        """Of the gradient, for `lax.pad`."""
        first, last = min(self.shifts), max(self.shifts)
        return max(-first, 0), max(self.steps + last, self.block * self.blocks) - self.outputs, 0


def convolution(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Depthwise convolution of [B, H, W, C] with [k_h, k_w, 1, C]."""
    height, width = axes = _axes(x, kernel, geometry)
    x = _pad(x, [axis.pads for axis in axes])
    terms = [
        x[:, _window(height, i), _window(width, j)] * kernel[i, j, 0]
        for i in range(height.taps)
        for j in range(width.taps)
    ]
    return _total(terms)


def gradients(x: Array, kernel: Array, gradient: Array, geometry: Geometry) -> tuple[Array, Array]:
    """The gradients of `convolution` in x and kernel, from the gradient in its result."""
    axes = _axes(x, kernel, geometry)
    gradient = _pad(gradient, [axis.gradient_pads for axis in axes])
    return _input_gradient(kernel, gradient, *axes), _kernel_gradient(x, gradient, *axes)


def _axes(x: Array, kernel: Array, geometry: Geometry) -> list[_Axis]:
    return [
        _Axis(
            length,
            taps,
            geometry.strides,
            geometry.dilation,
            geometry.pads(length, taps)[0],
            geometry.outputs(length),
            largest,
        )
        for length, taps, largest in zip(x.shape[1:3], kernel.shape[:2], _BLOCKS, strict=True)
    ]


def _pad(x: Array, pads: list[tuple[int, int, int]]) -> Array:
    return lax.pad(x, np.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])


def _window(axis: _Axis, tap: int) -> slice:
    start = axis.dilation * tap
    return slice(start, start + axis.strides * (axis.outputs - 1) + 1, axis.strides)


def _total(terms: list[Array]) -> Array:
    """Their sum, from left to right."""
    return sum(terms[1:], terms[0])


def _input_gradient(kernel: Array, gradient: Array, height: _Axis, width: _Axis) -> Array:
    """For stride s, [B, s H, s W, C] is computed as [B, H, s, W, s, C]: each shift of the gradient has s² kernels."""
    kernel = lax.pad(kernel[:, :, 0], np.zeros((), kernel.dtype), [(0, 1, 0), (0, 1, 0), (0, 0, 0)])
    terms = []
    for i, rows in height.shifts.items():
        for j, columns in width.shifts.items():
            top, left = height.gradient_pads[0] + i, width.gradient_pads[0] + j
            shifted = gradient[:, top : top + height.steps, None, left : left + width.steps, None]
            terms.append(shifted * kernel[np.array(rows)][:, None, np.array(columns)])
    total = _total(terms)
    x_gradient = total.reshape(-1, height.steps * height.strides, width.steps * width.strides, total.shape[-1])
    return x_gradient[:, : height.length, : width.length]


def _kernel_gradient(x: Array, gradient: Array, height: _Axis, width: _Axis) -> Array:
    x = _pad(x, [height.pads, width.pads])
    batch, channels = x.shape[0], x.shape[-1]
    top, left = height.gradient_pads[0], width.gradient_pads[0]

    def add_block(number: Array, total: Array) -> Array:
        row, column = number // width.blocks * height.block, number % width.blocks * width.block
        images = _cut(
            x,
            (height.strides * row, width.strides * column),
            (height.reach(height.block), width.reach(width.block)),
        )
        gradients = _cut(gradient, (top + row, left + column), (height.block, width.block))
        terms = [
            images[:, height.around(i), width.around(j)] * gradients[:, i : i + 1, j : j + 1]
            for i in range(height.block)
            for j in range(width.block)
        ]
        return total + _total(terms)

    # The sums of each image run in parallel. Zeros made of x vary over the same devices inside shard_map.
    zeros = jnp.broadcast_to(0 * x[:1, :1, :1, :1], (batch, height.taps, width.taps, channels))
    totals = lax.fori_loop(0, height.blocks * width.blocks, add_block, zeros)
    return totals.sum(0)[:, :, None]


def _cut(x: Array, starts: tuple[Array, Array], sizes: tuple[int, int]) -> Array:
    """The block of these rows and columns."""
    zero = jnp.zeros((), jnp.int32)
    return lax.dynamic_slice(x, (zero, *starts, zero), (x.shape[0], *sizes, x.shape[-1]), allow_negative_indices=False)
