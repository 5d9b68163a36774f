"""DML-CSR face parsing in JAX and Flax (CVPR 2022, arXiv 2203.14448)."""

from typing import TYPE_CHECKING

from dmlcsr_jax import lazy

if TYPE_CHECKING:
    from dmlcsr_jax.datasets import get_spec
    from dmlcsr_jax.errors import UserError
    from dmlcsr_jax.inference import FaceParser
    from dmlcsr_jax.models import DMLCSR

__version__ = "0.1.0"
__all__ = ["DMLCSR", "FaceParser", "UserError", "__version__", "get_spec"]

# Importing the package takes no time.
__getattr__, __dir__ = lazy.exports(
    __name__,
    {"datasets": ["get_spec"], "errors": ["UserError"], "inference": ["FaceParser"], "models": ["DMLCSR"]},
)
