"""The pmapped steps; nothing else in the package calls `jax.pmap`.

The state stays unreplicated (`in_axes=None`, `out_axes=None`): averaging, teachers and checkpoints see one
plain tree. Batches have a leading axis of local devices (`shard`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dmlcsr_jax.losses import LossWeights, multi_task_loss
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.averaging import flip_averaged
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
    """Puts a tree where the steps leave theirs, on all devices, so that the first step compiles for every later one."""
    mesh = jax.sharding.Mesh(devices or jax.devices(), (AXIS,))
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
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """The training step: (state, sharded batch) -> (state, the loss terms averaged over all devices).

    Gradients, batch statistics and terms are averaged over `AXIS`, so every device takes the same step.
    The state is donated. `model.axis_name` must be `AXIS`. `devices` are all of them unless named.
    """

    def loss_fn(params, batch_stats, batch):
        predictions, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            normalize(batch.images, convention, model.dtype),
            train=True,
            mutable=["batch_stats"],
        )
        total, terms = multi_task_loss(predictions, batch.labels, weights=weights, axis_name=AXIS)
        return total, (updated["batch_stats"], terms | {"total": total})

    def step(state: TrainState, batch: Batch):
        grads, (batch_stats, terms) = jax.grad(loss_fn, has_aux=True)(state.params, state.batch_stats, batch)
        grads, terms = jax.lax.pmean((grads, terms), AXIS)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
        return state, terms

    return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0, devices=devices)


def parse_labels(
    model: DMLCSR, convention: InputConvention, variables: Any, images: Array, flip_table: np.ndarray | None = None
) -> jax.Array:
    """[B, H, W, 3] uint8 pictures -> [B, H, W] uint8 class numbers: logits up to the input size, argmax.

    With `flip_table` (`FaceSpec.flip_table()`) the logits are averaged with those of the mirror image. Source: the
    published code's evaluate.py, which does not average.
    """

    def logits_of(images):
        return model.apply(variables, normalize(images, convention, model.dtype), method="parse")

    logits = logits_of(images) if flip_table is None else flip_averaged(logits_of, images, flip_table)
    logits = resize_bilinear(logits, images.shape[1:3])
    return jnp.argmax(logits, axis=-1).astype(jnp.uint8)


def make_predict_step(
    model: DMLCSR, convention: InputConvention, flip_table: np.ndarray | None = None
) -> Callable[[Any, Array], jax.Array]:
    """The evaluation step: (variables, [D, B, H, W, 3] uint8) -> [D, B, H, W] uint8 class numbers.

    With `flip_table` as in `parse_labels`.
    """

    def predict(variables, images):
        return parse_labels(model, convention, variables, images, flip_table)

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
