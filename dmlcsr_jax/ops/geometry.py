"""What a convolution reads around each pixel."""

from typing import Literal, NamedTuple

Padding = Literal["centered", "same"]


class Geometry(NamedTuple):
    """The arguments of `convolution` other than its arrays."""

    strides: int
    dilation: int
    groups: int
    padding: Padding

    def pads(self, length: int, taps: int) -> tuple[int, int]:
        """Zeros in front of and behind an axis of `length` pixels, for a kernel of `taps` along it."""
        reach = self.dilation * (taps - 1)
        if self.padding == "centered":
            return reach // 2, reach // 2
        total = max((self.outputs(length) - 1) * self.strides + reach + 1 - length, 0)
        return total // 2, total - total // 2

    def outputs(self, length: int) -> int:
        """Pixels of the result along an axis of `length` pixels."""
        return -(-length // self.strides)
