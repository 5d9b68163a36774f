"""The network and the conversion of published weights."""

from dmlcsr_jax.models.dml_csr import DMLCSR

__all__ = ["DMLCSR"]
