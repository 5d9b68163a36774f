"""An HTML page of the best and the worst images of an evaluation."""

import dataclasses
import heapq
import html
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.drawing.images import jpeg_url, resize_longer_side
from dmlcsr_jax.drawing.overlay import draw_overlay
from dmlcsr_jax.evaluation.confusion import scores
from dmlcsr_jax.files import write_text
from dmlcsr_jax.paths import Path
from dmlcsr_jax.pipeline.geometry import restore_labels

_SIDE = 256  # pixels, the longer side of an image on the page
_OPACITY = 0.7
_RED = np.array([255, 40, 40], np.uint8)
_STYLE = """
body { font: 14px sans-serif; margin: 2em; background: #fff; color: #222 }
table { border-collapse: collapse } td, th { padding: 2px 8px; text-align: left } td.n { text-align: right }
.case { display: flex; gap: 8px; margin: 12px 0; align-items: flex-start } figure { margin: 0 }
figcaption { color: #666; font-size: 12px } i { display: inline-block; width: 1em; height: 1em; vertical-align: -2px }
"""

# Index -> name, [H, W, 3] uint8 RGB image, [H, W] uint8 label.
Example = Callable[[int], tuple[str, np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One image of an evaluation.

    Attributes:
      score: mean F1 over the foreground classes in its label or prediction, 0..1.
      index: of the image in its split.
      confusion: [C, C] int64, of this image alone.
      prediction: [h, w] uint8, at the size of the network's input.
    """

    score: float
    index: int
    confusion: np.ndarray
    prediction: np.ndarray


class Extremes:
    """Keeps the best and the worst cases among all it is called with; an `evaluator.Observe`.

    Images of nothing but background have no score and are skipped.

    Args:
      spec: the classes.
      count: how many best and how many worst cases to keep.
    """

    def __init__(self, spec: FaceSpec, count: int = 8):
        self.spec, self._count = spec, count
        self._best: list[tuple[float, int, Case]] = []  # heaps, whose first entry is replaced next
        self._worst: list[tuple[float, int, Case]] = []

    def __call__(self, index: int, prediction: np.ndarray, confusion: np.ndarray) -> None:
        """Adds one image; the arguments are those of `Case`."""
        score = scores(confusion, self.spec)["mean_f1"]
        if score is None:
            return
        for heap, key in ((self._best, score), (self._worst, -score)):
            push = heapq.heappush if len(heap) < self._count else heapq.heappushpop
            push(heap, (key, -index, Case(score, index, confusion, prediction)))

    def best(self) -> list[Case]:
        """The best cases, the best first."""
        return _sorted_cases(self._best)

    def worst(self) -> list[Case]:
        """The worst cases, the worst first."""
        return _sorted_cases(self._worst)


def _sorted_cases(heap: list[tuple[float, int, Case]]) -> list[Case]:
    return [case for *_, case in sorted(heap, key=lambda entry: entry[:2], reverse=True)]


def write_page(path: Path, *, title: str, result: Mapping[str, Any], extremes: Extremes, example: Example) -> None:
    """Writes one HTML file that contains all its images: the scores, then the worst and the best cases.

    Args:
      path: the file.
      title: its heading.
      result: what `confusion.scores` returns for the whole split.
      extremes: the cases to show.
      example: returns the image of a case, with its label, at their original size.
    """
    spec = extremes.spec
    parts = [f"<h1>{html.escape(title)}</h1>", _score_table(result, spec)]
    for heading, cases in (("Worst", extremes.worst()), ("Best", extremes.best())):
        parts.append(f"<h2>{heading} {len(cases)}</h2>")
        parts += [_case(case, *example(case.index), spec) for case in cases]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    write_text(path, "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</html>\n"]))


def _case(case: Case, name: str, image: np.ndarray, label: np.ndarray, spec: FaceSpec) -> str:
    prediction = restore_labels(case.prediction, image.shape[1], image.shape[0])
    wrong = (label != prediction) & (label != spec.ignore_id)
    columns = {
        f"{name}, mean F1 {_percent(case.score)}": image,
        "label": draw_overlay(image, label, spec, opacity=_OPACITY),
        "prediction": draw_overlay(image, prediction, spec, opacity=_OPACITY),
        "errors": np.where(wrong[..., None], _RED, image // 2),
    }
    figures = "".join(_figure(column, caption) for caption, column in columns.items())
    return f'<div class="case">{figures}{_class_table(scores(case.confusion, spec)["f1"], spec)}</div>'


def _figure(image: np.ndarray, caption: str) -> str:
    url = jpeg_url(resize_longer_side(image, _SIDE))
    return f'<figure><img src="{url}" alt=""><figcaption>{html.escape(caption)}</figcaption></figure>'


def _score_table(result: Mapping[str, Any], spec: FaceSpec) -> str:
    means = {name: result[name] for name in ("mean_f1", "miou", "pixel_accuracy", "mean_accuracy")}
    means |= {f"{name} (merged)": value for name, value in result["merged_f1"].items()}
    rows = "".join(f'<tr><td>{html.escape(name)}<td class="n">{_percent(value)}' for name, value in means.items())
    return f'<div class="case"><table><tr><th>score<th>%{rows}</table>{_class_table(result["f1"], spec)}</div>'


def _class_table(f1: Mapping[str, float | None], spec: FaceSpec) -> str:
    """The classes that have a score, with their colors, the worst first."""
    rows = sorted((value, name) for name, value in f1.items() if value is not None)
    cells = "".join(
        f'<tr><td><i style="background:rgb{spec.palette[spec.class_id(name)]}"></i> {html.escape(name)}'
        f'<td class="n">{_percent(value)}'
        for value, name in rows
    )
    return f"<table><tr><th>class<th>F1 %{cells}</table>"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"
