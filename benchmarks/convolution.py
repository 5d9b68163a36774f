"""Times `dmlcsr_jax.ops.convolution` against `jax.lax.conv_general_dilated`, forward and both gradients.

    python -m benchmarks.convolution [--rounds=15] [--shapes=21]

Both run in turns in one process, so that they meet the same state of the machine. The table shows the medians in
milliseconds and their ratio (above 1: ours is faster). A ratio of 1.0 means that ours uses XLA's own convolution.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from rich.table import Table

from benchmarks import side_by_side, workload
from benchmarks.side_by_side import console
from dmlcsr_jax.ops.convolution import convolution


class Shape(NamedTuple):
    """A convolution of [batch, size, size, inside] to `outside` channels with a k x k kernel."""

    batch: int
    size: int
    inside: int
    outside: int
    k: int
    strides: int
    dilation: int
    groups: int

    def __str__(self) -> str:
        return (
            f"{self.batch}x{self.size}x{self.size} {self.inside}->{self.outside} {self.k}x{self.k} "
            f"stride {self.strides} dilation {self.dilation} groups {self.groups}"
        )


SHAPES = (
    Shape(16, 128, 3, 32, 3, 2, 1, 1),
    Shape(16, 64, 32, 32, 3, 1, 1, 1),
    Shape(16, 64, 32, 64, 3, 1, 1, 1),
    Shape(8, 32, 64, 64, 3, 1, 1, 1),
    Shape(8, 32, 64, 128, 3, 2, 1, 1),
    Shape(16, 20, 128, 128, 3, 1, 1, 1),
    Shape(8, 16, 256, 256, 3, 1, 2, 1),
    Shape(8, 16, 512, 256, 3, 1, 1, 1),
    Shape(2, 31, 512, 512, 3, 1, 2, 1),
    Shape(8, 32, 64, 256, 1, 1, 1, 1),
    Shape(2, 31, 1024, 256, 1, 1, 1, 1),
    Shape(2, 61, 256, 512, 1, 2, 1, 1),
    Shape(8, 32, 64, 64, 3, 1, 1, 64),
    Shape(2, 31, 512, 512, 3, 2, 1, 512),
    # EfficientNet-Lite0 at 256 x 256.
    Shape(16, 128, 32, 32, 3, 1, 1, 32),
    Shape(16, 128, 96, 96, 3, 2, 1, 96),
    Shape(16, 64, 144, 144, 3, 1, 1, 144),
    Shape(16, 64, 144, 144, 5, 2, 1, 144),
    Shape(16, 32, 240, 240, 5, 1, 1, 240),
    Shape(16, 16, 672, 672, 5, 1, 1, 672),
    Shape(16, 64, 144, 24, 1, 1, 1, 1),
)
Convolution = Callable[[jax.Array, jax.Array], jax.Array]
Pass = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def direct(x: jax.Array, kernel: jax.Array, *, strides: int, dilation: int, groups: int) -> jax.Array:
    """The same convolution by XLA."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        [(pad, pad) for pad in (dilation * (k - 1) // 2 for k in kernel.shape[:2])],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def passes(function: Convolution) -> dict[str, Pass]:
    """The forward pass and the two gradients of a convolution, compiled: (x, kernel, gradient) -> result."""
    return {
        "forward": jax.jit(lambda x, kernel, gradient: function(x, kernel)),
        "input gradient": jax.jit(lambda x, kernel, gradient: jax.vjp(lambda x: function(x, kernel), x)[1](gradient)),
        "kernel gradient": jax.jit(
            lambda x, kernel, gradient: jax.vjp(lambda kernel: function(x, kernel), kernel)[1](gradient)
        ),
    }


def measure(shape: Shape, rounds: int, table: Table) -> None:
    """Adds the rows of one convolution."""
    random = np.random.default_rng(0)
    x = random.normal(size=(shape.batch, shape.size, shape.size, shape.inside))
    kernel = random.normal(size=(shape.k, shape.k, shape.inside // shape.groups, shape.outside))
    x, kernel = jax.device_put((x.astype(np.float32), kernel.astype(np.float32)))
    options = {"strides": shape.strides, "dilation": shape.dilation, "groups": shape.groups}
    theirs, ours = (passes(functools.partial(function, **options)) for function in (direct, convolution))
    gradient = direct(x, kernel, **options)
    title = str(shape)
    for name in theirs:
        runs = [workload.blocking(side[name], x, kernel, gradient) for side in (theirs, ours)]
        for run in runs:
            run()  # compiles
        timers = {run: functools.partial(side_by_side.timed, run) for run in runs}
        lax_time, our_time = side_by_side.medians(timers, rounds, rest=0).values()
        table.add_row(title, name, f"{lax_time * 1e3:.2f}", f"{our_time * 1e3:.2f}", f"{lax_time / our_time:.2f}")
        title = ""
    table.add_section()


def main() -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timed runs per side")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="measure only the first shapes")
    flags = parser.parse_args()
    side_by_side.set_environment()
    table = Table("convolution", "pass", "lax ms", "ours ms", "lax / ours", title=f"float32 on {jax.devices()[0]}")
    for shape in SHAPES[: flags.shapes]:
        measure(shape, flags.rounds, table)
    console.print(table)


if __name__ == "__main__":
    main()
