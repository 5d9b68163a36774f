"""Draws docs/self_regulation.png: a noisy label, the teacher's view, and how much of the label each target keeps.

    python -m benchmarks.softened_labels

The face is drawn, and the teacher is one that knows the clean label: the logit of its class is eight above all others.
"""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.drawing.label_maps import colorize
from dmlcsr_jax.losses.softening import soft_target
from dmlcsr_jax.pipeline.label_noise import drop_part

SPEC = get_spec("synthetic")
OUTPUT = pathlib.Path("docs/self_regulation.png")
MARGIN = 8.0  # of the teacher's logits
FACE = 10  # a seed whose face shows both eyes and ears


def label_share(noisy: np.ndarray, clean: np.ndarray, target: str, cycle: int) -> np.ndarray:
    """[H, W] the target's probability, 0..1, of each pixel's given label."""
    logits = MARGIN * (clean[..., None] == np.arange(SPEC.num_classes)).astype(np.float32)
    mixed = np.exp(soft_target(logits[None], noisy[None], cycle, target))[0]  # pyright: ignore[reportArgumentType]
    return np.take_along_axis(mixed, noisy[..., None].astype(int), axis=-1)[..., 0]


def main() -> None:
    """Writes the image."""
    image, clean = draw_face(FACE, 128)
    noisy = drop_part(SPEC.flip_table()[clean].astype(np.uint8), SPEC.num_classes, np.random.default_rng(2))
    panels = {
        "image": image,
        "given label:\nsides swapped, a part lost": colorize(noisy, SPEC),
        "what the teacher sees": colorize(clean, SPEC),
    }
    figure = Figure(figsize=(15, 3.4), layout="constrained")
    axes = figure.subplots(1, 5)
    for axis, (title, pixels) in zip(axes, panels.items(), strict=False):
        axis.imshow(pixels)
        axis.set_title(title)
    for axis, target in zip(axes[3:], ("logits", "probabilities"), strict=True):
        share = label_share(noisy, clean, target, cycle=1)
        shown = axis.imshow(share, cmap="viridis", vmin=0, vmax=1)
        kept = share[noisy != clean].mean()
        axis.set_title(f"target from {target}:\nwrong labels keep {kept:.2f}")
    for axis in axes:
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes[-1], label="share of the given label")
    figure.savefig(OUTPUT, dpi=70)


if __name__ == "__main__":
    main()
