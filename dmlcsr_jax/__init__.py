"""DML-CSR face parsing in JAX and Flax (CVPR 2022, arXiv 2203.14448)."""

__version__ = "0.1.0"
