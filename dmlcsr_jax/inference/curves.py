"""The curves of a run as one picture."""

import pathlib

import matplotlib

from dmlcsr_jax.training.logs import read_metrics

matplotlib.use("agg")  # files only; no display is needed

from matplotlib import pyplot as plt


def plot_curves(workdir: pathlib.Path) -> pathlib.Path:
    """Draws the losses, the scores and the learning rate of `metrics.jsonl` into `curves.png`; returns its path."""
    lines = read_metrics(workdir / "metrics.jsonl")
    groups = {
        "weighted loss": ("train/total",),
        "loss terms": tuple(sorted({n for line in lines for n in line if n.startswith("train/")} - _NOT_TERMS)),
        "F1": ("val/mean_f1", "val/miou"),
        "learning rate": ("train/learning_rate",),
    }
    figure, axes = plt.subplots(1, len(groups), figsize=(5 * len(groups), 3.6), layout="constrained")
    for axis, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                axis.plot(
                    *zip(*points, strict=True), label=name.partition("/")[2], marker="." if len(points) < 30 else ""
                )
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    path = workdir / "curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


_NOT_TERMS = {"train/total", "train/learning_rate", "train/pictures_per_second"}
