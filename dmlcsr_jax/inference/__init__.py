"""Trained networks in use: images in, face parts out."""

from typing import TYPE_CHECKING

from dmlcsr_jax import lazy

if TYPE_CHECKING:
    from dmlcsr_jax.inference.detector import CenterFace, Detection
    from dmlcsr_jax.inference.face import FaceCrop, ParsedFace
    from dmlcsr_jax.inference.parser import FaceParser

__all__ = ["CenterFace", "Detection", "FaceCrop", "FaceParser", "ParsedFace"]

# One module of this subpackage can be imported without JAX.
__getattr__, __dir__ = lazy.exports(
    __name__,
    {"detector": ["CenterFace", "Detection"], "face": ["FaceCrop", "ParsedFace"], "parser": ["FaceParser"]},
)
