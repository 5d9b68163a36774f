"""Edge labels from label maps, computed on the device."""

import jax
import jax.numpy as jnp

from dmlcsr_jax.types import IGNORE_ID, Array

# The neighbors (rows down, columns right) that each pixel is compared with. One side of a border is enough, because
# the border is widened afterwards; these are the published directions.
_NEIGHBORS = ((-1, 0), (0, 1), (1, 1), (1, -1))
_BOX = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))


def edge_labels(labels: Array) -> tuple[jax.Array, jax.Array]:
    """Makes the labels of both edge heads (arXiv 2203.14448 §3.2).

    A pixel is on an edge if it differs from its upper, right, lower right or lower left neighbor; 255 never counts as
    different. The edges are then dilated by a 3×3 box.

    Args:
      labels: [B, H, W] integer class numbers; 255 is ignored.

    Returns:
      binary: [B, H, W], dtype of `labels`, 1 on an edge, else 0. An ignored pixel next to an edge is on it too.
      category: [B, H, W], dtype of `labels`, the pixel's own class on an edge, 0 elsewhere and on ignored pixels.
    """
    ignored = labels == IGNORE_ID
    edges = jnp.zeros(labels.shape, bool)
    for offset in _NEIGHBORS:
        neighbors = _shift(labels, offset, fill=IGNORE_ID)
        edges |= (neighbors != labels) & (neighbors != IGNORE_ID) & ~ignored
    edges = jnp.any(jnp.stack([_shift(edges, offset, fill=False) for offset in _BOX]), axis=0)
    return edges.astype(labels.dtype), jnp.where(edges & ~ignored, labels, 0).astype(labels.dtype)


def _shift(maps: Array, offset: tuple[int, int], fill: int | bool) -> jax.Array:
    """The value at `offset` (rows down, columns right; each -1..1) from every pixel of [B, H, W]; `fill` outside."""
    _, height, width = maps.shape
    row, column = 1 + offset[0], 1 + offset[1]
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=fill)
    return padded[:, row : row + height, column : column + width]
