"""Training curves: the right values in the right plots, from whatever lines there are."""

import json
import sys

import pytest

from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.evaluation.curves import draw_curves, plot_curves

LINES = [
    {"step": 10, "train/total": 3.0, "train/lovasz": 1.0, "train/learning_rate": 0.1, "train/images_per_second": 9.0},
    {"step": 20, "train/total": 2.0, "train/lovasz": 0.5, "train/learning_rate": 0.2, "train/images_per_second": 9.0},
    {"step": 20, "val/mean_f1": 0.25, "val_f1/hair": 0.5},
    {"step": 30, "val/mean_f1": 0.75, "val_teacher/miou": 0.5},
]


def test_each_plot_has_its_curves():
    curves = {
        axes.get_title(): {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
        for axes in draw_curves(LINES).axes
    }
    assert curves == {
        "weighted loss": {"total": ([10, 20], [3.0, 2.0])},
        "loss terms": {"lovasz": ([10, 20], [1.0, 0.5])},
        "scores": {"val/mean_f1": ([20, 30], [0.25, 0.75]), "val_teacher/miou": ([30], [0.5])},
        "learning rate": {"learning_rate": ([10, 20], [0.1, 0.2])},
    }


@pytest.mark.parametrize("lines", [[], LINES])
def test_curves_are_written_as_one_image_without_pyplot(tmp_path, lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it fails
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4')
    assert plot_curves(tmp_path) == tmp_path / "curves.png"
    assert decode_image((tmp_path / "curves.png").read_bytes()).shape == (396, 2200, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "curves.png"}
