"""DML-CSR face parsing in JAX and Flax (CVPR 2022, arXiv 2203.14448)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlcsr_jax.datasets import get_spec
    from dmlcsr_jax.inference import FaceParser
    from dmlcsr_jax.models import DMLCSR

__version__ = "0.1.0"
__all__ = ["DMLCSR", "FaceParser", "__version__", "get_spec"]

_ROOMS = {"DMLCSR": "models", "FaceParser": "inference", "get_spec": "datasets"}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for, so that importing the package takes no time."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
