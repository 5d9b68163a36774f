"""The network and the conversion of published weights."""

from dmlcsr_jax.models.dml_csr import DMLCSR, parse, prepare_variables

__all__ = ["DMLCSR", "parse", "prepare_variables"]
