"""Times `dmlcsr_jax.ops.convolution` against `jax.lax.conv_general_dilated`, forward and both gradients.

    python -m benchmarks.convolution [--rounds=15]

The two run by turns in one process, so that both meet the same state of the machine; the table gives the medians
in milliseconds and their ratio (above 1: ours is quicker). Where the ratio says 1.0, ours takes XLA's own path.
"""

import functools

import jax
import numpy as np
from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console, medians, timed
from dmlcsr_jax.ops.convolution import convolution

# batch, size, input channels, output channels, kernel size, strides, dilation, groups
SHAPES = (
    (16, 128, 3, 32, 3, 2, 1, 1),
    (16, 64, 32, 32, 3, 1, 1, 1),
    (16, 64, 32, 64, 3, 1, 1, 1),
    (8, 32, 64, 64, 3, 1, 1, 1),
    (8, 32, 64, 128, 3, 2, 1, 1),
    (16, 20, 128, 128, 3, 1, 1, 1),
    (8, 16, 256, 256, 3, 1, 2, 1),
    (8, 16, 512, 256, 3, 1, 1, 1),
    (2, 31, 512, 512, 3, 1, 2, 1),
    (8, 32, 64, 256, 1, 1, 1, 1),
    (2, 31, 1024, 256, 1, 1, 1, 1),
    (2, 61, 256, 512, 1, 2, 1, 1),
    (8, 32, 64, 64, 3, 1, 1, 64),
    (2, 31, 512, 512, 3, 2, 1, 512),
)


def direct(x, kernel, *, strides, dilation, groups):
    """The same convolution by XLA."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        [(dilation * (k - 1) // 2,) * 2 for k in kernel.shape[:2]],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def passes(function):
    """The forward pass and the two gradients of a convolution, as compiled functions of (x, kernel, gradient)."""
    return {
        "forward": jax.jit(lambda x, kernel, gradient: function(x, kernel)),
        "input gradient": jax.jit(lambda x, kernel, gradient: jax.vjp(lambda x: function(x, kernel), x)[1](gradient)),
        "kernel gradient": jax.jit(
            lambda x, kernel, gradient: jax.vjp(lambda kernel: function(x, kernel), kernel)[1](gradient)
        ),
    }


def main() -> None:
    """Prints the table."""
    parser = workload.described(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each side")
    rounds = parser.parse_args().rounds
    table = Table("convolution", "pass", "lax ms", "ours ms", "lax / ours", title=f"float32 on {jax.devices()[0]}")
    random = np.random.default_rng(0)
    for batch, size, inside, outside, k, strides, dilation, groups in SHAPES:
        options = {"strides": strides, "dilation": dilation, "groups": groups}
        x = random.normal(size=(batch, size, size, inside)).astype(np.float32)
        kernel = random.normal(size=(k, k, inside // groups, outside)).astype(np.float32)
        x, kernel = jax.device_put((x, kernel))
        sides = [functools.partial(function, **options) for function in (direct, convolution)]
        gradient = direct(x, kernel, **options)
        title = (
            f"{batch}x{size}x{size} {inside}->{outside} {k}x{k} stride {strides} dilation {dilation} groups {groups}"
        )
        for (name, theirs), ours in zip(passes(sides[0]).items(), passes(sides[1]).values(), strict=True):
            runs = [workload.waited(function, x, kernel, gradient) for function in (theirs, ours)]
            for run in runs:
                run()  # compiles
            lax_time, our_time = medians({run: functools.partial(timed, run) for run in runs}, rounds, rest=0).values()
            table.add_row(title, name, f"{lax_time * 1e3:.2f}", f"{our_time * 1e3:.2f}", f"{lax_time / our_time:.2f}")
            title = ""
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
