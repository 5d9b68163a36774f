"""What an engine does, and what engines with a fixed graph share."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import TestTimeAugmentation


class Engine(Protocol):
    """Runs a network on images of its input size, in batches of any length."""

    @property
    def name(self) -> str:
        """Such as "jax", "onnxruntime" or "openvino"."""
        ...

    @property
    def precision(self) -> str:
        """Such as "float32" or "bfloat16"."""
        ...

    def labels(self, images: np.ndarray) -> np.ndarray:
        """[B, H, W, 3] uint8 RGB -> [B, H, W] uint8, the class with the largest logit."""
        ...

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """[B, H, W, 3] uint8 RGB -> [B, H, W, C] float32, the softmax of the logits."""
        ...


class Graph(Protocol):
    """An exported network at one scale: preprocessing, network and resizing to the size of the input."""

    def labels(self, images: np.ndarray) -> np.ndarray:
        """[B, H, W, 3] uint8 RGB -> [B, H, W] uint8."""
        ...

    def logits(self, images: np.ndarray) -> np.ndarray:
        """[B, H, W, 3] uint8 RGB -> [B, H, W, C] float32."""
        ...


class GraphEngine:
    """An engine of exported networks; views are averaged here, as `models.test_time_augmentation` does.

    Args:
      name: of the engine.
      precision: what the graphs compute in.
      graphs: one for each scale of the augmentation.
      flip_table: `FaceSpec.flip_table()` if mirror images are averaged too, else None.
    """

    def __init__(self, name: str, precision: str, graphs: Sequence[Graph], flip_table: np.ndarray | None = None):
        self.name, self.precision = name, precision
        self._graphs, self._flip_table = graphs, flip_table

    def labels(self, images: np.ndarray) -> np.ndarray:
        """As `Engine.labels`."""
        if len(self._graphs) == 1 and self._flip_table is None:
            return self._graphs[0].labels(images)
        return self._logits(images).argmax(-1).astype(np.uint8)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """As `Engine.probabilities`."""
        logits = self._logits(images)
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        return exponentials / exponentials.sum(-1, keepdims=True)

    def _logits(self, images: np.ndarray) -> np.ndarray:
        return np.mean([self._flip_averaged(graph, images) for graph in self._graphs], axis=0)

    def _flip_averaged(self, graph: Graph, images: np.ndarray) -> np.ndarray:
        logits = graph.logits(images)
        if self._flip_table is None:
            return logits
        mirrored = graph.logits(np.ascontiguousarray(images[:, :, ::-1]))
        classes = self._flip_table[: logits.shape[-1]]
        return (logits + mirrored[:, :, ::-1][..., classes]) / 2


def refuse_scales(augmentation: TestTimeAugmentation, file: str) -> None:
    """Raises UserError if an exported file would have to run at another scale than its own."""
    if augmentation.scales != (1.0,):
        scales = ", ".join(f"{scale:g}" for scale in augmentation.scales)
        raise UserError(f"{file} runs at its own size alone, not at scales {scales}; use the checkpoint it came from")
