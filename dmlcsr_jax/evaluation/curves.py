"""The curves of a run as one picture."""

import pathlib

import matplotlib

from dmlcsr_jax.files import read_json_lines

matplotlib.use("agg")  # files only; no display is needed

from matplotlib import pyplot as plt


def plot_curves(workdir: pathlib.Path) -> pathlib.Path:
    """Draws the losses, the scores and the learning rate of `metrics.jsonl` into `curves.png`; returns its path."""
    lines = read_json_lines(workdir / "metrics.jsonl")
    names = sorted({name for line in lines for name in line} - {"step"})
    groups = {
        "weighted loss": ["train/total"],
        "loss terms": [name for name in names if name.startswith("train/") and name not in _NOT_TERMS],
        "scores": [name for name in names if name.endswith(("/mean_f1", "/miou"))],
        "learning rate": ["train/learning_rate"],
    }
    figure, axes = plt.subplots(1, len(groups), figsize=(5 * len(groups), 3.6), layout="constrained")
    for axis, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                marker = "." if len(points) < 30 else ""
                axis.plot(*zip(*points, strict=True), label=name.removeprefix("train/"), marker=marker)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    path = workdir / "curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


_NOT_TERMS = {"train/total", "train/learning_rate", "train/images_per_second"}
