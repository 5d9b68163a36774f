"""The network of the paper, and the conversion of PyTorch weights."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlcsr_jax.models.create import create_model, init_variables
    from dmlcsr_jax.models.dml_csr import DMLCSR
    from dmlcsr_jax.models.parsing import parse, parse_labels, parse_logits, prepare_variables
    from dmlcsr_jax.models.test_time_augmentation import TestTimeAugmentation

__all__ = [
    "DMLCSR",
    "TestTimeAugmentation",
    "create_model",
    "init_variables",
    "parse",
    "parse_labels",
    "parse_logits",
    "prepare_variables",
]

_MODULES = {
    "DMLCSR": "dml_csr",
    "TestTimeAugmentation": "test_time_augmentation",
    "create_model": "create",
    "init_variables": "create",
    "parse": "parsing",
    "parse_labels": "parsing",
    "parse_logits": "parsing",
    "prepare_variables": "parsing",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `TestTimeAugmentation` does not import JAX."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
