"""Variables that look trained: every statistic, scale and gamma differs from its initial value."""

import jax
import numpy as np

from dmlcsr_jax.models import init_variables


def random_variables(model, seed=0):
    """Variables of a network, with one scale in five negative, without compiling anything.

    Kernels sum to zero over their inputs, so that different pixels get different classes.
    """
    rng = np.random.default_rng(seed)

    def kernel(shape):
        values = rng.standard_normal((int(np.prod(shape[:-1])), shape[-1]))
        return (1.6 * (values - values.mean(0)) / np.sqrt(len(values))).reshape(shape)

    draw = {
        "kernel": kernel,
        "scale": lambda shape: rng.uniform(0.5, 1.0, shape) * np.where(rng.random(shape) < 0.2, -1, 1),
        "bias": lambda shape: 0.1 * rng.standard_normal(shape),
        "mean": lambda shape: 0.1 * rng.standard_normal(shape),
        "var": lambda shape: rng.uniform(0.5, 1.5, shape),
        "gamma": lambda shape: rng.uniform(0.5, 1.0, shape),
        "gamma1": lambda shape: -rng.uniform(0.5, 1.0, shape),
    }
    shapes = jax.eval_shape(lambda: init_variables(model, seed=0))
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.asarray(draw[path[-1].key](leaf.shape), np.float32), shapes
    )
