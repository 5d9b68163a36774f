"""Test-time augmentation: logits averaged over views of an image."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dmlcsr_jax.fields import FieldError

if TYPE_CHECKING:  # engines other than JAX's use the dataclass alone
    import jax

    LogitsFunction: TypeAlias = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class TestTimeAugmentation:
    """Which views of an image are averaged. The published evaluation uses a single one.

    Attributes:
      flip: whether to add the mirror image of every view, for twice the work.
      scales: sizes of the input relative to the network's, each from 0.25 to 4.

    Raises:
      FieldError: there is no scale, or one is out of range.
    """

    __test__ = False  # tells pytest that this is no test

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self):
        if not self.scales or not all(0.25 <= scale <= 4 for scale in self.scales):
            given = ", ".join(map(str, self.scales)) or "empty"
            raise FieldError(f"scales are {given}; give numbers from 0.25 to 4, such as 0.75,1,1.25")

    def __str__(self) -> str:
        parts = ["mirrored"] if self.flip else []
        parts += [f"scales {', '.join(f'{scale:g}' for scale in self.scales)}"] if self.scales != (1.0,) else []
        return " and ".join(parts)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) of a view of images of this size."""
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def augmented_logits(
    logits_fn: "LogitsFunction",
    images: "jax.Array",
    augmentation: TestTimeAugmentation = TestTimeAugmentation(),
    flip_table: np.ndarray | None = None,
) -> "jax.Array":
    """Mean logits over views, resized to the size of the images.

    result = mean over scales s of resize(f(resize(x, s)), 1), bilinear with aligned corners, where f is flip-averaged
    if the augmentation flips.

    Args:
      logits_fn: f: [B, H, W, 3] -> [B, h, w, C] logits, of any stride.
      images: [B, H, W, 3] floating point.
      augmentation: the views.
      flip_table: `FaceSpec.flip_table()`; needed if the augmentation flips.

    Returns:
      [B, H, W, C] of the dtype of f's result.
    """
    from dmlcsr_jax.ops.resize import resize_bilinear

    size = images.shape[1], images.shape[2]

    def at(scale: float) -> "jax.Array":
        scaled = resize_bilinear(images, scaled_size(size, scale))
        if augmentation.flip:
            assert flip_table is not None, "flipping needs a flip_table"
            return resize_bilinear(flip_averaged_logits(logits_fn, scaled, flip_table), size)
        return resize_bilinear(logits_fn(scaled), size)

    return sum(map(at, augmentation.scales[1:]), at(augmentation.scales[0])) / len(augmentation.scales)


def flip_averaged_logits(logits_fn: "LogitsFunction", images: "jax.Array", flip_table: np.ndarray) -> "jax.Array":
    """Mean of the logits of images and of their mirror images, mirrored back with left and right classes exchanged.

    result[..., c] = (f(x)[..., c] + mirror(f(mirror(x)))[..., flip_table[c]]) / 2, where mirror reverses the width.

    Args:
      logits_fn: f: [B, H, W, 3] -> [B, h, w, C] logits, of any stride.
      images: [B, H, W, 3] of any dtype that f takes.
      flip_table: [C] or longer, the class that each class becomes in the mirror image.

    Returns:
      [B, h, w, C] of the dtype of f's result.
    """
    logits, mirrored = logits_fn(images), logits_fn(images[:, :, ::-1])
    classes = np.asarray(flip_table[: logits.shape[-1]], np.int32)
    return (logits + mirrored[:, :, ::-1][..., classes]) / 2
