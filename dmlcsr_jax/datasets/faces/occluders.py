"""Things held in front of the face; all of them are labeled as background."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from dmlcsr_jax.datasets.faces.canvas import (
    Canvas,
    closed_curve,
    ellipse,
    floats,
    looped,
    open_curve,
    ribbon,
    symmetric,
)
from dmlcsr_jax.datasets.faces.person import Color, Person, jitter, pick
from dmlcsr_jax.datasets.faces.scene import WALLS

_Place = Callable[[ArrayLike], np.ndarray]  # [N, 2] points in face units from the chin -> pixels

_BEHIND = ("background",)
_FINGER = ((0, -0.36), (0.07, -0.33), (0.115, -0.22), (0.117, 0.25), (0.07, 0.36), (0, 0.39))  # right half of the edge


def draw_occluder(canvas: Canvas, person: Person, *, skin: np.ndarray, rng: np.random.Generator) -> None:
    """A hand, a microphone or a cup at the mouth or chin."""
    if not person.occluder:
        return
    sign = rng.choice([-1.0, 1.0])
    at = person.pose.face([(sign * rng.uniform(0.1, 0.6), rng.uniform(1.0, 1.35))])[0]

    def place(points: ArrayLike) -> np.ndarray:
        return at + floats(points) * floats([sign * person.pose.unit, person.pose.unit])

    if person.occluder == "hand":
        _draw_hand(canvas, place, unit=person.pose.unit, skin=skin)
    elif person.occluder == "microphone":
        _draw_microphone(canvas, place, person.pose.unit)
    else:
        color = jitter(rng, pick(rng, WALLS), 20)
        _draw_cup(canvas, place, unit=person.pose.unit, color=color, high=rng.uniform(0.9, 1.2))


def _draw_microphone(canvas: Canvas, place: _Place, unit: float) -> None:
    stick = ribbon(place([(0, 0), (0.9, 2.6)]), floats([0.3, 0.22]) * np.float32(unit))
    canvas.paint(stick, (38, 38, 44), "background")
    canvas.paint(place(ellipse((0, 0), 0.34, 0.36)), (74, 76, 82), "background")
    mesh = [place([(x, -0.3), (1.2 * x, 0), (x, 0.3)]) for x in np.linspace(-0.25, 0.25, 5)]
    canvas.paint([ribbon(line, 0.03 * unit) for line in mesh], (150, 152, 158), alpha=0.5)
    canvas.shade(place(ellipse((-0.1, -0.1), 0.12, 0.12)), 1.7, 0.05 * unit)


def _draw_cup(canvas: Canvas, place: _Place, *, unit: float, color: Color, high: float) -> None:
    wide = 0.48
    handle = looped(place(ellipse((wide, 0.5 * high), 0.26, 0.26)))
    canvas.paint(ribbon(handle, 0.11 * unit), color * np.float32(0.8), "background")
    canvas.paint(place([(-wide, 0), (wide, 0), (0.84 * wide, high), (-0.84 * wide, high)]), color, "background")
    flank = place([(-wide, 0), (-0.3 * wide, 0), (-0.3 * wide, high), (-wide, high)])
    canvas.shade(flank, 0.75, 0.12 * unit, on=_BEHIND)
    canvas.paint(place(ellipse((0, 0), wide, 0.13)), color * np.float32(0.7), "background")


def _draw_hand(canvas: Canvas, place: _Place, *, unit: float, skin: np.ndarray) -> None:
    """Knuckles at the chin: an arm, a palm and four curled fingers."""
    arm = place(open_curve([(0.25, 0.5), (0.4, 1.2), (0.5, 3.0)]))
    canvas.paint(ribbon(arm, 0.62 * unit), skin, "background")
    palm = [(-0.42, 0.15), (-0.3, -0.12), (0.2, -0.18), (0.5, 0.05), (0.58, 0.6), (0.2, 0.95), (-0.3, 0.7)]
    canvas.paint(place(closed_curve(palm)), skin, "background")
    finger = closed_curve(symmetric(_FINGER), 4)
    for x, y in ((0.42, -0.02), (0.16, -0.07), (-0.1, -0.07), (-0.36, -0.02)):
        center = floats([x, y])
        canvas.shade(place(finger * np.float32(1.1) + center), 0.62, 0.04 * unit, on=_BEHIND)
        canvas.paint(place(finger + center), skin * np.float32(1.03), "background")
        crease = place([(x - 0.07, y - 0.08), (x, y - 0.1), (x + 0.07, y - 0.08)])
        canvas.shade(ribbon(crease, 0.03 * unit), (0.7, 0.6, 0.58), 0.012 * unit)
