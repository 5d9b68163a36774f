"""From images to face parts, for inference and evaluation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dmlcsr_jax.models.dml_csr import DMLCSR
from dmlcsr_jax.models.test_time_augmentation import TestTimeAugmentation, augmented_logits
from dmlcsr_jax.ops.convolution import transform_kernel
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.types import Array, Preprocessing, Variables

_PIXELS_AT_ONCE = 512 * 512  # on a CPU


def prepare_variables(model: DMLCSR, variables: Variables) -> Variables:
    """Variables for parsing many images: on a CPU in float32 with a collection "winograd" of transformed kernels.

    These take four times the memory of the kernels, 0.7 GB for ResNet-101. Elsewhere the variables are returned as
    they are.
    """
    if jax.default_backend() != "cpu" or model.dtype != jnp.float32:
        return variables
    kernels = {path: leaf for path, leaf in flatten_dict(variables["params"]).items() if path[-1] == "kernel"}
    transformed = jax.jit(partial(jax.tree.map, transform_kernel))(kernels)
    transformed = {path: kernel for path, kernel in transformed.items() if kernel is not None}
    return {**variables, "winograd": unflatten_dict(transformed)}


def parse(model: DMLCSR, variables: Variables, images: jax.Array) -> jax.Array:
    """The parsing logits of normalized images, on a CPU a few images at a time.

    One large image fits the processor's cache but several do not: together they take longer, and more memory.

    Args:
      model: the network.
      variables: `params` and `batch_stats`, plain or from `prepare_variables`; those of edge heads may be absent.
      images: [B, H, W, 3] floating point, normalized.

    Returns:
      [B, h, w, C] as `DMLCSR.parse`.
    """
    apply = partial(model.apply, variables, method="parse")
    count, height, width, _ = images.shape
    at_once = max(
        n for n in range(1, count + 1) if n == 1 or (count % n == 0 and n * height * width <= _PIXELS_AT_ONCE)
    )
    if jax.default_backend() != "cpu" or at_once == count:
        return apply(images)  # pyright: ignore[reportReturnType]
    logits = jax.lax.map(apply, images.reshape(-1, at_once, *images.shape[1:]))
    return logits.reshape(count, *logits.shape[2:])


def parse_logits(
    model: DMLCSR,
    variables: Variables,
    images: Array,
    *,
    preprocessing: Preprocessing,
    augmentation: TestTimeAugmentation = TestTimeAugmentation(),
    flip_table: np.ndarray | None = None,
) -> jax.Array:
    """Logits of the parts at the size of the images.

    Source of the plain case: the published code's evaluate.py.

    Args:
      model: the network.
      variables: as for `parse`.
      images: [B, H, W, 3] uint8 RGB.
      preprocessing: how images enter the network.
      augmentation: the views that are averaged.
      flip_table: `FaceSpec.flip_table()`; needed if the augmentation flips.

    Returns:
      [B, H, W, C] of the dtype of `DMLCSR.parse`.
    """
    normalized = normalize(images, preprocessing, model.dtype)
    return augmented_logits(partial(parse, model, variables), normalized, augmentation, flip_table)


def parse_labels(
    model: DMLCSR,
    variables: Variables,
    images: Array,
    *,
    preprocessing: Preprocessing,
    augmentation: TestTimeAugmentation = TestTimeAugmentation(),
    flip_table: np.ndarray | None = None,
) -> jax.Array:
    """The arguments of `parse_logits` -> [B, H, W] uint8 class numbers, the argmax of the logits."""
    logits = parse_logits(
        model, variables, images, preprocessing=preprocessing, augmentation=augmentation, flip_table=flip_table
    )
    return jnp.argmax(logits, axis=-1).astype(jnp.uint8)
