"""The pmapped training steps.

The state stays unreplicated (`in_axes=None`, `out_axes=None`): averaging, teachers and checkpoints see one plain tree.
Batches have a leading axis of local devices (`devices.shard`).
"""

from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dmlcsr_jax.devices import AXIS
from dmlcsr_jax.losses import LossWeights, Softening, multi_task_loss
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.batch_statistics import batch_statistics_of
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.types import Array, Batch, Device, Predictions, Preprocessing, PyTree, Variables

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
StatisticsStep = Callable[[Variables, PyTree, jax.Array, Batch], tuple[PyTree, jax.Array]]


def make_train_step(
    model: DMLCSR,
    optimizer: optax.GradientTransformation,
    *,
    weights: LossWeights,
    preprocessing: Preprocessing,
    distillation: bool = True,
    class_weights: Array | None = None,
    softening: Softening = Softening(),
    flip_table: np.ndarray | None = None,
    devices: Sequence[Device] | None = None,
) -> TrainStep:
    """The training step: (state, sharded batch) -> (state, the loss terms averaged over all devices).

    Gradients, batch statistics and terms are averaged over `AXIS`, so every device takes the same step. A state with a
    teacher compiles a second step, in which the frozen teacher, in evaluation mode, softens the labels of all heads
    (arXiv 2203.14448 §3.5); a state without one pays nothing for it.

    Args:
      model: the network; its `axis_name` must be `AXIS`.
      optimizer: from `make_optimizer`.
      weights: of the loss terms.
      preprocessing: how images enter the network.
      distillation: if False, the teacher is ignored.
      class_weights: [C] float of the loss; see `multi_task_loss`.
      softening: what the teacher does to the labels.
      flip_table: `FaceSpec.flip_table()` if the teacher averages the image and its mirror image.
      devices: all of them unless named.

    Returns:
      The step. It donates the state.
    """

    def loss_fn(params: PyTree, state: TrainState, batch: Batch):
        images = normalize(batch.images, preprocessing, model.dtype)
        variables = {"params": params, "batch_stats": state.batch_stats}
        predictions, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        teacher = None
        if distillation and state.teacher is not None:
            teacher = teacher_predictions(model, state.teacher, images, flip_table)
        total, terms = multi_task_loss(
            predictions,
            batch.labels,
            teacher=teacher,
            cycle=state.cycle,
            softening=softening,
            weights=weights,
            class_weights=class_weights,
            axis_name=AXIS,
        )
        return total, (updated["batch_stats"], terms | {"total": total})

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        grads, (batch_stats, terms) = jax.grad(loss_fn, has_aux=True)(state.params, state, batch)
        grads, terms = jax.lax.pmean((grads, terms), AXIS)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
        return state, terms

    return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0, devices=devices)


def teacher_predictions(
    model: DMLCSR, teacher: Variables, images: jax.Array, flip_table: np.ndarray | None
) -> Predictions:
    """The teacher's logits; with a `flip_table`, logits of the mean probabilities of images and mirror images."""
    found = cast(Predictions, model.apply(teacher, images, train=False))
    if flip_table is None:
        return found
    mirrored = cast(Predictions, model.apply(teacher, images[:, :, ::-1], train=False))
    has_edges = found.binary_edge is not None
    tables = Predictions(flip_table, np.arange(2) if has_edges else None, flip_table if has_edges else None)
    return jax.tree.map(_mean_probabilities, found, mirrored, tables)


def _mean_probabilities(logits: jax.Array, mirrored: jax.Array, flip_table: np.ndarray) -> jax.Array:
    """Logits whose probabilities are the mean of those of an image and its mirror image."""
    classes = np.asarray(flip_table[: logits.shape[-1]], np.int32)
    views = (jax.nn.log_softmax(view.astype(jnp.float32)) for view in (logits, mirrored[:, :, ::-1][..., classes]))
    return jnp.logaddexp(*views) - jnp.log(2.0)


def make_statistics_step(
    model: DMLCSR, *, preprocessing: Preprocessing, devices: Sequence[Device] | None = None
) -> StatisticsStep:
    """One step of `recompute_batch_stats`: (variables, average, seen, sharded batch) -> (average, seen).

    `variables` are `{"params": ...}`, or `prepare_variables` of them. `average` is a tree like `batch_stats`: the mean
    of the statistics of all batches so far, each weighted by its number of examples over all devices. `seen` [] float32
    is the number of examples so far; while it is 0, the values of `average` do not matter. Examples outside the batch's
    mask do not count.

    Args:
      model: the network; its `axis_name` must be `AXIS`.
      preprocessing: how images enter the network.
      devices: all of them unless named.
    """

    def step(variables: Variables, average: PyTree, seen: jax.Array, batch: Batch):
        images = normalize(batch.images, preprocessing, model.dtype)
        with batch_statistics_of(batch.mask):
            _, updated = model.apply(
                {**variables, "batch_stats": average}, images, train=False, mutable=["batch_stats"]
            )
        count = jax.lax.psum(batch.mask.sum(), AXIS).astype(seen.dtype)
        share = count / (seen + count)
        average = jax.tree.map(lambda old, new: (1 - share) * old + share * new, average, updated["batch_stats"])
        return average, seen + count

    return jax.pmap(step, AXIS, in_axes=(None, None, None, 0), out_axes=(None, None), devices=devices)


def make_inspect_step(
    model: DMLCSR, *, preprocessing: Preprocessing
) -> Callable[[Variables, Array], tuple[jax.Array, jax.Array]]:
    """For images in the logs: (variables, [B, H, W, 3] uint8) -> class numbers and edge probability.

    Returns uint8 [B, H, W] and float32 [B, H, W] in 0..1 (zeros if the network has no edge heads). Runs on one device.
    """

    def inspect(variables: Variables, images: Array) -> tuple[jax.Array, jax.Array]:
        normalized = normalize(images, preprocessing, model.dtype)
        predictions = model.apply(variables, normalized, train=False)
        full_size = jax.tree.map(lambda logits: resize_bilinear(logits, images.shape[1:3]), predictions)
        labels = jnp.argmax(full_size.parsing, -1).astype(jnp.uint8)
        if full_size.binary_edge is None:
            return labels, jnp.zeros(labels.shape, jnp.float32)
        return labels, jax.nn.softmax(full_size.binary_edge)[..., 1]

    return jax.jit(inspect)
