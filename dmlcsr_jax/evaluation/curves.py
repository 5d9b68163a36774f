"""The training curves of a run as one image."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from dmlcsr_jax.files import read_json_lines, replacing
from dmlcsr_jax.paths import Path

_NOT_TERMS = {"train/total", "train/learning_rate", "train/images_per_second", "train/pictures_per_second"}
_MARKED_BELOW = 30  # curves of fewer points show each of them


def plot_curves(workdir: Path) -> Path:
    """Plots the losses, the scores and the learning rate of `metrics.jsonl` to `curves.png`; returns its path."""
    path = workdir / "curves.png"
    figure = draw_curves(read_json_lines(workdir / "metrics.jsonl"))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return path


def draw_curves(lines: Sequence[Mapping[str, float]]) -> Figure:
    """A figure with four plots: weighted loss, loss terms, scores, learning rate.

    Args:
      lines: objects with `step` and any of the names that training logs; each name is one curve.
    """
    names = sorted({name for line in lines for name in line} - {"step"})
    groups = {
        "weighted loss": ["train/total"],
        "loss terms": [name for name in names if name.startswith("train/") and name not in _NOT_TERMS],
        "scores": [name for name in names if name.endswith(("/mean_f1", "/miou"))],
        "learning rate": ["train/learning_rate"],
    }
    # A figure of its own, outside of pyplot: it needs no display and leaves the user's backend alone.
    figure = Figure(figsize=(5 * len(groups), 3.6), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(groups)), groups.items(), strict=True):
        for name in curves:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                marker = "." if len(points) < _MARKED_BELOW else ""
                axes.plot(*zip(*points, strict=True), label=name.removeprefix("train/"), marker=marker)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
    return figure
