"""The pmapped training steps.

The state stays unreplicated (`in_axes=None`, `out_axes=None`): averaging, teachers and checkpoints see one plain tree.
Batches have a leading axis of local devices (`devices.shard`).
"""

from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import optax

from dmlcsr_jax.devices import AXIS, keep_global
from dmlcsr_jax.losses import LossWeights, Softening, count_pixels, multi_task_loss
from dmlcsr_jax.losses.counts import Counts
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.batch_statistics import batch_statistics_of
from dmlcsr_jax.models.layers import parameter_dtype
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
    accumulate_steps: int = 1,
    devices: Sequence[Device] | None = None,
) -> TrainStep:
    """The training step: (state, sharded batch) -> (state, the loss terms averaged over all devices).

    Gradients, batch statistics and terms are averaged over `AXIS`, so every device takes the same step. A state with a
    teacher compiles a second step, in which the frozen teacher, in evaluation mode, softens the labels of all heads
    (arXiv 2203.14448 §3.5); a state without one pays nothing for it.

    With `accumulate_steps`, each device computes its images in parts, one after the other, and averages their
    gradients. The step remains that of the whole batch, but for what sees one part at a time: batch norm, whose running
    statistics follow the parts in order, and Lovász-softmax.

    Args:
      model: the network; its `axis_name` must be `AXIS`.
      optimizer: from `make_optimizer`.
      weights: of the loss terms.
      preprocessing: how images enter the network.
      distillation: if False, the teacher is ignored.
      class_weights: [C] float of the loss; see `multi_task_loss`.
      softening: what the teacher does to the labels.
      accumulate_steps: number of parts; it divides the images of each device.
      devices: all of them unless named.

    Returns:
      The step. It donates the state. With several hosts, results are arrays of all of them; see `keep_global`.
    """

    def prepare(state: TrainState, part: Batch) -> tuple[Predictions | None, Counts]:
        """What must be known of all parts before the first gradient: their counts, and so the teacher's logits."""
        teacher = None
        if distillation and state.teacher is not None:
            images = normalize(part.images, preprocessing, model.dtype)
            teacher = cast(Predictions, model.apply(state.teacher, images, train=False))
        counts = count_pixels(
            part.labels,
            num_classes=model.num_classes,
            teacher=teacher,
            cycle=state.cycle,
            softening=softening,
            class_weights=class_weights,
            dtype=parameter_dtype(model.dtype),
        )
        return teacher, counts

    def loss_fn(params: PyTree, state: TrainState, part: Batch, teacher: Predictions | None, counts: Counts):
        images = normalize(part.images, preprocessing, model.dtype)
        variables = {"params": params, "batch_stats": state.batch_stats}
        predictions, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        total, terms = multi_task_loss(
            predictions,
            part.labels,
            teacher=teacher,
            cycle=state.cycle,
            softening=softening,
            weights=weights,
            class_weights=class_weights,
            counts=counts,
        )
        return total, (updated["batch_stats"], terms | {"total": total})

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        parts = jax.tree.map(lambda x: x.reshape(accumulate_steps, -1, *x.shape[1:]), batch)
        _, (teachers, counts) = _scan(lambda _, part: (None, prepare(state, part)), None, parts)
        counts = jax.lax.pmean(_mean(counts), AXIS)

        def accumulate(carry: tuple[PyTree, PyTree], part: tuple[Batch, Predictions | None]):
            grads, batch_stats = carry
            seen = state.replace(batch_stats=batch_stats)
            more, (batch_stats, terms) = jax.grad(loss_fn, has_aux=True)(state.params, seen, *part, counts)
            return (jax.tree.map(jnp.add, grads, more), batch_stats), terms

        start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
        (grads, batch_stats), terms = _scan(accumulate, start, (parts, teachers))
        grads = jax.tree.map(lambda x: x / accumulate_steps, grads)
        grads, terms = jax.lax.pmean((grads, _mean(terms)), AXIS)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
        return state, terms

    pmapped = jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0, devices=devices)
    return keep_global(pmapped)


def _scan(
    function: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], carry: PyTree, parts: PyTree
) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan`, without a loop for a single part."""
    if len(jax.tree.leaves(parts)[0]) > 1:
        return jax.lax.scan(function, carry, parts)
    carry, result = function(carry, jax.tree.map(lambda x: x[0], parts))
    return carry, jax.tree.map(lambda x: x[None], result)


def _mean(tree: PyTree) -> PyTree:
    """The mean over the parts, which are the leading axis."""
    return jax.tree.map(lambda x: x.mean(0), tree)


def make_statistics_step(
    model: DMLCSR, *, preprocessing: Preprocessing, devices: Sequence[Device] | None = None
) -> StatisticsStep:
    """One step of `recompute_batch_stats`: (variables, average, seen, sharded batch) -> (average, seen).

    `variables` are `{"params": ...}`, or `prepare_variables` of them. `average` is a tree like `batch_stats`: the mean
    of the statistics of all batches so far, each weighted by its number of examples over all devices. `seen` [] float32
    is the number of examples so far; while it is 0, `average` may hold any finite values. Examples outside the batch's
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
