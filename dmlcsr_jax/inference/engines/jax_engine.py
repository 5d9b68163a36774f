"""JAX: networks from their variables, compiled for whatever JAX runs on, and exported StableHLO."""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.errors import UserError, first_line
from dmlcsr_jax.models import TestTimeAugmentation
from dmlcsr_jax.paths import as_path
from dmlcsr_jax.types import Array, Precision, Variables

if TYPE_CHECKING:
    import jax


class JaxEngine:
    """A network from its variables.

    It is compiled once for each length of a batch, which all devices of this host share.

    Args:
      variables: `params` and `batch_stats`; those of the edge heads may be absent.
      metadata: classes, network and preprocessing.
      augmentation: the views that are averaged.
      precision: the dtype of the computation.
    """

    name = "jax"

    def __init__(
        self,
        variables: Variables,
        metadata: CheckpointMetadata,
        augmentation: TestTimeAugmentation = TestTimeAugmentation(),
        precision: Precision = "float32",
    ):
        import jax
        import jax.numpy as jnp

        from dmlcsr_jax.inference.local_devices import LocalDevices
        from dmlcsr_jax.models import create_model, parse_labels, parse_logits, prepare_variables

        self.precision = precision
        model = create_model(metadata.spec.num_classes, **{**metadata.model, "dtype": precision})
        self._devices = LocalDevices(prepare_variables(model, variables))
        options: dict[str, Any] = {
            "preprocessing": metadata.preprocessing,
            "augmentation": augmentation,
            "flip_table": metadata.spec.flip_table() if augmentation.flip else None,
        }

        def probabilities(variables: Variables, images: Array) -> "jax.Array":
            logits = parse_logits(model, variables, images, **options)
            return jax.nn.softmax(logits.astype(jnp.float32))

        self._probabilities = jax.jit(probabilities)
        self._labels = jax.jit(partial(parse_labels, model, **options))

    def labels(self, images: np.ndarray) -> np.ndarray:
        """As `Engine.labels`."""
        return self._devices.run(self._labels, images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """As `Engine.probabilities`."""
        return self._devices.run(self._probabilities, images)


class StableHloGraph:
    """A file of `export.encode_stablehlo`; it needs JAX alone.

    Args:
      path: the file.

    Raises:
      UserError: the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]):
        import jax
        import jax.export

        try:
            call = jax.export.deserialize(bytearray(as_path(path).read_bytes())).call
        except Exception as error:  # a broken file raises many kinds
            raise UserError(f"{path} cannot be read as StableHLO ({first_line(error)}); export it again") from error
        self._run = {name: jax.jit(lambda images, name=name: call(images)[name]) for name in ("labels", "logits")}

    def labels(self, images: np.ndarray) -> np.ndarray:
        """As `Graph.labels`."""
        return np.asarray(self._run["labels"](images))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """As `Graph.logits`."""
        return np.asarray(self._run["logits"](images))
