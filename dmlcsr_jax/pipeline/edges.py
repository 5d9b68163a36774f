"""Edge labels from a label map, on the device."""

import jax
import jax.numpy as jnp

from dmlcsr_jax.datasets.spec import IGNORE_ID

# The neighbor (rows down, columns right) that a pixel is compared with in each of the four directions. One side of
# a border is enough, for the border is widened afterwards; these sides are the published ones.
_NEIGHBOURS = ((-1, 0), (0, 1), (1, 1), (1, -1))
_AROUND = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))


def edge_labels(labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Makes the labels of both edge heads (arXiv 2203.14448 §3.2).

    A pixel is on an edge if it differs from its upper, right, lower right or lower left neighbor, 255 never counting
    as different; the edges are then widened by a 3×3 box.

    Args:
      labels: [B, H, W] integer class numbers, 255 to ignore.

    Returns:
      binary: [B, H, W], dtype of `labels`, 1 on an edge, else 0. An ignored pixel next to an edge is on it too.
      category: [B, H, W], dtype of `labels`, the pixel's own class on an edge, 0 elsewhere and on ignored pixels.
    """
    ignored = labels == IGNORE_ID
    edges = jnp.zeros(labels.shape, bool)
    for offset in _NEIGHBOURS:
        neighbors = _shifted(labels, offset, fill=IGNORE_ID)
        edges |= (neighbors != labels) & (neighbors != IGNORE_ID) & ~ignored
    edges = jnp.any(jnp.stack([_shifted(edges, offset, fill=False) for offset in _AROUND]), axis=0)
    return edges.astype(labels.dtype), jnp.where(edges & ~ignored, labels, 0).astype(labels.dtype)


def _shifted(maps: jax.Array, offset: tuple[int, int], fill: int | bool) -> jax.Array:
    """What lies `offset` (rows down, columns right; each -1..1) from every pixel of [B, H, W]; `fill` outside."""
    _, height, width = maps.shape
    row, column = 1 + offset[0], 1 + offset[1]
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=fill)
    return padded[:, row : row + height, column : column + width]
