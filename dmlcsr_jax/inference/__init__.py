"""Trained networks at work: pictures in, face parts out."""

from dmlcsr_jax.inference.parser import FaceParser, ParsedFace

__all__ = ["FaceParser", "ParsedFace"]
