"""Trained networks in use: images in, face parts out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlcsr_jax.inference.detector import CenterFace, Detection
    from dmlcsr_jax.inference.face import FaceCrop, ParsedFace
    from dmlcsr_jax.inference.parser import FaceParser

__all__ = ["CenterFace", "Detection", "FaceCrop", "FaceParser", "ParsedFace"]

_MODULES = {
    "CenterFace": "detector",
    "Detection": "detector",
    "FaceCrop": "face",
    "FaceParser": "parser",
    "ParsedFace": "face",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that importing one module of the room does not import JAX."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
