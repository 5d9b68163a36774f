"""The best and the worst pictures of an evaluation, as a page to look at."""

import base64
import heapq
import html
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.drawing import overlay as visualize
from dmlcsr_jax.drawing.contact_sheet import fitted
from dmlcsr_jax.evaluation.confusion import scores
from dmlcsr_jax.files import write_text
from dmlcsr_jax.pipeline.geometry import restore_labels

_SIDE = 256  # pixels of a picture on the page
_STYLE = """
body { font: 14px sans-serif; margin: 2em; background: #fff; color: #222 }
table { border-collapse: collapse } td, th { padding: 2px 8px; text-align: left } td.n { text-align: right }
.case { display: flex; gap: 8px; margin: 12px 0; align-items: flex-start } figure { margin: 0 }
figcaption { color: #666; font-size: 12px } i { display: inline-block; width: 1em; height: 1em; vertical-align: -2px }
"""


class Case(NamedTuple):
    """One picture of an evaluation: mean F1 over its foreground classes, index, confusion, [h, w] uint8 prediction."""

    score: float
    index: int
    confusion: np.ndarray
    prediction: np.ndarray


class Extremes:
    """Keeps the best and the worst cases of all that it is shown; call it with index, prediction and confusion.

    The score of a picture is its mean F1 over the foreground classes that are in its label or in its prediction.
    """

    def __init__(self, spec: FaceSpec, count: int = 8):
        self._spec, self._count = spec, count
        self._best: list[tuple] = []
        self._worst: list[tuple] = []

    def __call__(self, index: int, prediction: np.ndarray, confusion: np.ndarray) -> None:
        """Looks at one picture."""
        score = scores(confusion, self._spec)["mean_f1"]
        if score is None:  # nothing but background
            return
        for heap, key in ((self._best, score), (self._worst, -score)):
            push = heapq.heappush if len(heap) < self._count else heapq.heappushpop
            push(heap, (key, -index, Case(score, index, confusion, prediction)))

    def best(self) -> list[Case]:
        """The best first."""
        return [case for *_, case in sorted(self._best, key=lambda entry: entry[:2], reverse=True)]

    def worst(self) -> list[Case]:
        """The worst first."""
        return [case for *_, case in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)]


def write_page(
    path: pathlib.Path,
    title: str,
    result: Mapping[str, Any],
    extremes: Extremes,
    example: Callable[[int], tuple[str, np.ndarray, np.ndarray]],
    spec: FaceSpec,
) -> None:
    """Writes one HTML file with all its pictures inside: the scores, then the worst and the best cases.

    Args:
      path: of the file.
      title: its heading.
      result: what `scores` returns for all pictures.
      extremes: which cases.
      example: index -> name, [H, W, 3] uint8 RGB picture and [H, W] uint8 label, at their own size.
      spec: the classes.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", _score_table(result, spec)]
    for heading, cases in (("Worst", extremes.worst()), ("Best", extremes.best())):
        parts.append(f"<h2>{heading} {len(cases)}</h2>")
        parts += [_case(case, *example(case.index), spec) for case in cases]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    write_text(path, "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</html>\n"]))


def _case(case: Case, name: str, image: np.ndarray, label: np.ndarray, spec: FaceSpec) -> str:
    prediction = restore_labels(case.prediction, image.shape[1], image.shape[0])
    wrong = (label != prediction) & (label != spec.ignore_id)
    shades = np.where(wrong[..., None], np.uint8([255, 40, 40]), image // 2)
    columns = {
        f"{name}, mean F1 {_percent(case.score)}": image,
        "label": visualize.overlay(image, label, spec, 0.7),
        "prediction": visualize.overlay(image, prediction, spec, 0.7),
        "where it is wrong": shades,
    }
    figures = "".join(
        f'<figure><img src="{_embedded(picture)}" alt=""><figcaption>{html.escape(caption)}</figcaption></figure>'
        for caption, picture in columns.items()
    )
    return f'<div class="case">{figures}{_class_table(scores(case.confusion, spec)["f1"], spec)}</div>'


def _score_table(result: Mapping[str, Any], spec: FaceSpec) -> str:
    means = {name: result[name] for name in ("mean_f1", "miou", "pixel_accuracy", "mean_accuracy")}
    means |= {f"{name} (merged)": value for name, value in result["merged_f1"].items()}
    rows = "".join(f'<tr><td>{html.escape(n)}<td class="n">{_percent(v)}' for n, v in means.items())
    return f'<div class="case"><table><tr><th>score<th>%{rows}</table>{_class_table(result["f1"], spec)}</div>'


def _class_table(f1: Mapping[str, float | None], spec: FaceSpec) -> str:
    """The classes that are there, the worst first, with their colors."""
    rows = sorted((value, name) for name, value in f1.items() if value is not None)
    cells = "".join(
        f'<tr><td><i style="background:rgb{spec.palette[spec.class_id(name)]}"></i> {html.escape(name)}'
        f'<td class="n">{_percent(value)}'
        for value, name in rows
    )
    return f"<table><tr><th>class<th>F1 %{cells}</table>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _embedded(image: np.ndarray) -> str:
    encoded = cv2.imencode(".jpg", cv2.cvtColor(fitted(image, _SIDE), cv2.COLOR_RGB2BGR))[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
