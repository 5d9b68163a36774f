"""The other implementations by name, imported only when they run: they need not be installed."""

import os
from typing import Any

from benchmarks.side_by_side import Run

MODULE = "benchmarks.torch_sides"


def torch_side(name: str, *arguments: Any, **fields: Any) -> Run:
    """The run that the function `name` of `torch_sides` creates, with one thread per core.

    Raises:
      ImportError: PyTorch or another library that this side needs is not installed.
    """
    import torch

    from benchmarks import torch_sides

    torch.set_num_threads(os.cpu_count() or 1)
    return getattr(torch_sides, name)(*arguments, **fields)


def graph_side(name: str, *arguments: Any) -> Run:
    """The run that the function `name` of `graph_sides` creates: our own exported network on another engine."""
    from benchmarks import graph_sides

    return getattr(graph_sides, name)(*arguments)
