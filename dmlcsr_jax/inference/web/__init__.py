"""A static web page that parses photos in the browser, which they never leave."""

from dmlcsr_jax.inference.web.export import site

__all__ = ["site"]
