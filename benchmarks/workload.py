"""What the benchmarks process: a network with random weights, and drawn faces."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmlcsr_jax import processor
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.models import DMLCSR, init_variables
from dmlcsr_jax.models.backbones import BACKBONES

NUM_CLASSES = 19


@dataclasses.dataclass(frozen=True)
class Workload:
    """A network and a batch.

    Attributes:
      size: height and width of the images.
      batch: images per batch.
      backbone: the encoder, as in `DMLCSR`.
      width: channels of the encoder's first stage.
      dtype: "float32" or "bfloat16", the dtype of the computation.
    """

    size: int
    batch: int
    backbone: str
    width: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.backbone}, width {self.width}, {self.dtype}, {self.size}², batch {self.batch}"

    def model(self, **fields: Any) -> DMLCSR:
        """The network; `fields` are further attributes of `DMLCSR`."""
        return DMLCSR(NUM_CLASSES, backbone=self.backbone, width=self.width, dtype=jnp.dtype(self.dtype), **fields)

    def variables(self) -> dict[str, Any]:
        """The network's variables as numpy arrays; the dual graph's factors, initially 0, are 0.5."""
        variables = jax.tree.map(np.asarray, init_variables(self.model(), seed=0))
        graph = variables["params"]["context"]["dualgcn"]
        graph["gamma1"] = graph["gcn_local_attention"]["gamma"] = np.float32(0.5)
        return variables

    def faces(self) -> tuple[np.ndarray, np.ndarray]:
        """Drawn faces [B, S, S, 3] uint8 and their labels [B, S, S] uint8."""
        images, labels = zip(*(draw_face(seed, self.size) for seed in range(self.batch)), strict=True)
        return np.stack(images), np.stack(labels)


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser of command-line flags whose help starts with a module's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_network_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that all benchmarks of the network share."""
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet101", help="encoder; PyTorch has ResNets only")
    parser.add_argument("--width", type=int, default=64, help="channels of the encoder's first stage")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the computation")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs per side")


def on_accelerator() -> bool:
    """Whether JAX runs on a GPU or TPU."""
    return jax.default_backend() != "cpu"


def processor_name() -> str:
    """The accelerator, or the processor and its cores."""
    return jax.devices()[0].device_kind if on_accelerator() else processor.describe()


def blocking(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """A run of a JAX function that waits for the result."""
    return lambda: jax.block_until_ready(function(*arguments))
