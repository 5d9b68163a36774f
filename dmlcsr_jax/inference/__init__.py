"""Trained networks at work: pictures in, face parts out."""

from dmlcsr_jax.inference.detector import CenterFace, Detection
from dmlcsr_jax.inference.face import FaceCrop, ParsedFace
from dmlcsr_jax.inference.parser import FaceParser

__all__ = ["CenterFace", "Detection", "FaceCrop", "FaceParser", "ParsedFace"]
