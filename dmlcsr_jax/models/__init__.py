"""The network of the paper, and the conversion of PyTorch weights."""

from typing import TYPE_CHECKING

from dmlcsr_jax import lazy

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

# `TestTimeAugmentation` needs no JAX.
__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "create": ["create_model", "init_variables"],
        "dml_csr": ["DMLCSR"],
        "parsing": ["parse", "parse_labels", "parse_logits", "prepare_variables"],
        "test_time_augmentation": ["TestTimeAugmentation"],
    },
)
