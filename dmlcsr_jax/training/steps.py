"""The pmapped steps; nothing else in the package calls `jax.pmap`.

The state stays unreplicated (`in_axes=None`, `out_axes=None`): averaging, teachers and checkpoints see one
plain tree. Batches have a leading axis of local devices (`shard`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dmlcsr_jax.losses import LossWeights, multi_task_loss
from dmlcsr_jax.models import DMLCSR, parse
from dmlcsr_jax.models.averaging import averaged_logits
from dmlcsr_jax.models.statistics import batch_statistics_of
from dmlcsr_jax.pipeline.normalize import normalize
from dmlcsr_jax.pipeline.resize import resize_bilinear
from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.types import Array, Batch, InputConvention

AXIS = "batch"


def shard(tree: Any, devices: int | None = None) -> Any:
    """Splits the leading axis of every array over this host's devices: [B, ...] -> [D, B / D, ...]."""
    devices = devices or jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), tree)


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Puts a tree where the steps leave theirs, so that the first step compiles for every later one.

    That is on all of this host's devices: what pmap gives is each host's own, though it is the same on all.
    """
    mesh = jax.sharding.Mesh(devices or jax.local_devices(), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def local_rows(array: jax.Array) -> np.ndarray:
    """This host's part of a pmapped output, the device axis merged away: [D, B / D, ...] -> [B, ...]."""
    shards = sorted(array.addressable_shards, key=lambda s: s.index[0].start or 0)
    rows = np.concatenate([np.asarray(s.data) for s in shards])
    return rows.reshape(-1, *rows.shape[2:])


def make_train_step(
    model: DMLCSR,
    optimizer: optax.GradientTransformation,
    weights: LossWeights,
    convention: InputConvention,
    distillation: bool = True,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """The training step: (state, sharded batch) -> (state, the loss terms averaged over all devices).

    Gradients, batch statistics and terms are averaged over `AXIS`, so every device takes the same step.
    A state with a teacher compiles a second step, in which the teacher, as it evaluates and without gradient,
    softens the labels of all heads (arXiv 2203.14448 §3.5); one without pays nothing for it.

    Args:
      model: the network; its `axis_name` must be `AXIS`.
      optimizer: from `make_optimizer`.
      weights: of the loss terms.
      convention: how pictures enter the network.
      distillation: False to leave a teacher unheard.
      devices: all of them unless named.

    Returns:
      The step. It donates the state.
    """

    def loss_fn(params, state, batch):
        images = normalize(batch.images, convention, model.dtype)
        variables = {"params": params, "batch_stats": state.batch_stats}
        predictions, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        teacher = None
        if distillation and state.teacher is not None:
            teacher = model.apply(state.teacher, images, train=False)
        total, terms = multi_task_loss(
            predictions, batch.labels, teacher=teacher, cycle=state.cycle, weights=weights, axis_name=AXIS
        )
        return total, (updated["batch_stats"], terms | {"total": total})

    def step(state: TrainState, batch: Batch):
        grads, (batch_stats, terms) = jax.grad(loss_fn, has_aux=True)(state.params, state, batch)
        grads, terms = jax.lax.pmean((grads, terms), AXIS)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
        return state, terms

    return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0, devices=devices)


def make_statistics_step(
    model: DMLCSR, convention: InputConvention, devices: Sequence[jax.Device] | None = None
) -> Callable[[dict[str, Any], Any, jax.Array, Batch], tuple[Any, jax.Array]]:
    """A step of estimating statistics anew: (variables, average, seen, sharded batch) -> (average, seen).

    `variables` are `{"params": ...}`, or `prepare_variables` of them. `average` is a tree like `batch_stats`, the mean
    of the batches' own statistics so far, each weighted by its examples over all devices; `seen` [] float32 is their
    number, 0 at first, when the values in `average` do not matter. Examples outside the batch's mask do not count.
    """

    def step(variables, average, seen, batch: Batch):
        images = normalize(batch.images, convention, model.dtype)
        variables = {**variables, "batch_stats": average}
        with batch_statistics_of(batch.mask):
            _, updated = model.apply(variables, images, train=False, mutable=["batch_stats"])
        count = jax.lax.psum(batch.mask.sum(), AXIS).astype(seen.dtype)
        share = count / (seen + count)
        average = jax.tree.map(lambda old, new: (1 - share) * old + share * new, average, updated["batch_stats"])
        return average, seen + count

    return jax.pmap(step, AXIS, in_axes=(None, None, None, 0), out_axes=(None, None), devices=devices)


def parse_logits(
    model: DMLCSR,
    convention: InputConvention,
    variables: Any,
    images: Array,
    flip_table: np.ndarray | None = None,
    scales: Sequence[float] = (1.0,),
) -> jax.Array:
    """[B, H, W, 3] uint8 pictures -> [B, H, W, C] logits of the parts at the input's size.

    `flip_table` and `scales` as in `averaged_logits`. Source of the plain case: the published code's evaluate.py.
    """
    logits_fn = partial(parse, model, variables)
    return averaged_logits(logits_fn, normalize(images, convention, model.dtype), flip_table, scales)


def parse_labels(*arguments: Any, **averaging: Any) -> jax.Array:
    """The arguments of `parse_logits` -> [B, H, W] uint8 class numbers: argmax."""
    return jnp.argmax(parse_logits(*arguments, **averaging), axis=-1).astype(jnp.uint8)


def make_predict_step(
    model: DMLCSR, convention: InputConvention, **averaging: Any
) -> Callable[[Any, Array], jax.Array]:
    """The evaluation step: (variables, [D, B, H, W, 3] uint8) -> [D, B, H, W] uint8 class numbers.

    `averaging` may hold `flip_table` and `scales`, see `parse_logits`.
    """

    def predict(variables, images):
        return parse_labels(model, convention, variables, images, **averaging)

    return jax.pmap(predict, axis_name=AXIS, in_axes=(None, 0))


def make_inspect_step(model: DMLCSR, convention: InputConvention) -> Callable[[Any, Array], tuple]:
    """For pictures in the logs: (variables, [B, H, W, 3] uint8) -> class numbers and edge probability.

    Returns uint8 [B, H, W] and float32 [B, H, W] in 0..1 (zeros where the network has no edge heads). Runs
    on one device.
    """

    def inspect(variables, images):
        predictions = model.apply(variables, normalize(images, convention, model.dtype), train=False)
        size = images.shape[1:3]
        labels = jnp.argmax(resize_bilinear(predictions.parsing, size), -1).astype(jnp.uint8)
        if predictions.binary_edge is None:
            return labels, jnp.zeros(labels.shape, jnp.float32)
        return labels, jax.nn.softmax(resize_bilinear(predictions.binary_edge, size))[..., 1]

    return jax.jit(inspect)
