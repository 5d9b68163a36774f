"""Activations, some with gradients that need less memory than autodiff's."""

from typing import Literal

import jax
import jax.numpy as jnp

Activation = Literal["leaky_relu", "relu", "relu6", "none"]
SLOPE = 0.01  # of leaky ReLU


def activate(x: jax.Array, activation: Activation) -> jax.Array:
    """Leaky ReLU with slope 0.01, max(x, 0), min(max(x, 0), 6), or x."""
    if activation == "leaky_relu":
        return jnp.where(x > 0, x, SLOPE * x)
    if activation == "relu6":
        return jnp.clip(x, 0, 6)
    return jax.nn.relu(x) if activation == "relu" else x


def gradient_before(gradient: jax.Array, x: jax.Array, activation: Activation) -> jax.Array:
    """The gradient of `activate(x, activation)` in x, from the gradient in its result."""
    if activation == "none":
        return gradient
    below = SLOPE * gradient if activation == "leaky_relu" else 0
    gradient = jnp.where(x > 0, gradient, below)
    return jnp.where(x < 6, gradient, 0) if activation == "relu6" else gradient


@jax.custom_vjp
def add_relu(x: jax.Array, y: jax.Array) -> jax.Array:
    """max(x + y, 0) of equal shapes and dtypes; NaN stays NaN. Only the result is kept for the gradient.

    It selects because behind a maximum XLA on the CPU would recompute the sums of all earlier blocks.
    """
    total = x + y
    return jnp.where(total <= 0, 0, total)


def _add_relu_forward(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    result = add_relu(x, y)
    return result, result


def _add_relu_backward(result: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    gradient = jnp.where(result <= 0, 0, gradient)
    return gradient, gradient


add_relu.defvjp(_add_relu_forward, _add_relu_backward)
