"""Hats."""

from typing import NamedTuple

import numpy as np

from dmlcsr_jax.datasets.faces.canvas import Canvas, closed_curve, ellipse, floats, open_curve, ribbon, symmetric
from dmlcsr_jax.datasets.faces.person import Person, mix


class _Fit(NamedTuple):
    """How a hat sits: its half width and the height of its edge in face units, and its front edge in pixels."""

    wide: float
    low: float
    front: np.ndarray


_SHADOWED = ("skin", "hair")
_HAT = ("hat",)


def draw_hat(canvas: Canvas, person: Person, *, cloth: np.ndarray, rng: np.random.Generator) -> None:
    """A beanie, cap, brimmed hat or beret over the hair."""
    if not person.hat:
        return
    wide = 1.1 + min(person.volume, 0.3)
    low = rng.uniform(-0.78, -0.62)  # height of its edge on the forehead
    edge = open_curve(symmetric([(0, low), (0.6, low + 0.04), (wide - 0.08, low + 0.24)]))
    front = person.pose.outline(edge, 0.45 - 0.5 * (edge[:, 0] / wide) ** 2)
    shadow = ribbon(front + floats([0, 0.06 * person.pose.unit]), 0.14 * person.pose.unit)
    canvas.shade(shadow, 0.6, 0.06 * person.pose.unit, on=_SHADOWED)
    draw = {"beanie": _draw_beanie, "cap": _draw_cap, "brim": _draw_brim, "beret": _draw_beret}[person.hat]
    draw(canvas, person, cloth, fit=_Fit(wide, low, front), rng=rng)


def _dome(fit: _Fit, *, high: float, box: float) -> np.ndarray:
    """The edge of a crown from left to right, in face units; a larger `box` makes it more square."""
    wide, low, _ = fit
    half = [(0, -high), (box * wide, -0.88 * high), (0.99 * wide, -1.1), (wide, low + 0.1)]
    return open_curve(symmetric(half))


def _draw_beanie(canvas: Canvas, person: Person, cloth: np.ndarray, *, fit: _Fit, rng: np.random.Generator) -> None:
    pose, unit, high = person.pose, person.pose.unit, rng.uniform(1.9, 2.2)
    canvas.paint(np.concatenate([pose.outline(_dome(fit, high=high, box=0.72), -0.12), fit.front[::-1]]), cloth, "hat")
    for x in np.linspace(-0.9, 0.9, 9):
        rib = pose.outline(open_curve([(0.35 * x, -high), (x, -1.35), (1.12 * x, -0.7)], 4))
        canvas.shade(ribbon(rib, 0.05 * unit), 0.8, 0.025 * unit, on=_HAT)
    up = floats([np.sin(pose.roll), -np.cos(pose.roll)]) * np.float32(0.16 * unit)
    fold = person.accent if rng.random() < 0.4 else cloth * np.float32(1.1)
    canvas.paint(ribbon(fit.front + up, 0.38 * unit), fold, "hat")
    if rng.random() < 0.4:
        ball = ellipse(pose.outline([(0, -high - 0.1)], -0.1)[0], 0.3 * unit, 0.3 * unit, points=36)
        tufts = rng.normal(0, 0.02 * unit, ball.shape).astype(np.float32)
        canvas.paint(ball + tufts, mix(person.accent, (255, 255, 255), share=0.3), "hat")


def _draw_cap(canvas: Canvas, person: Person, cloth: np.ndarray, *, fit: _Fit, rng: np.random.Generator) -> None:
    pose, unit, low, high = person.pose, person.pose.unit, fit.low, 1.78
    canvas.paint(np.concatenate([pose.outline(_dome(fit, high=high, box=0.72), -0.12), fit.front[::-1]]), cloth, "hat")
    for x in (-0.55, 0.0, 0.55):
        seam = pose.outline(open_curve([(0.3 * x, -high), (x, -1.3), (x, low)]), 0.1)
        canvas.shade(ribbon(seam, 0.03 * unit), 0.75, 0.012 * unit, on=_HAT)
    edge = symmetric([(0, low + 0.1), (0.8, low + 0.12), (0.86, low + 0.1)])
    reach = floats([0.5, 1.2, 1.65, 1.2, 0.5])  # how far the visor sticks out
    visor = np.concatenate([np.column_stack([edge, reach]), floats([(0, low - 0.16, 0.8)])])
    outline = pose.head(closed_curve(visor))
    canvas.shade(outline + floats([0, 0.14 * unit]), 0.62, 0.08 * unit, on=_SHADOWED)
    canvas.paint(outline, person.accent * 0.9 if rng.random() < 0.5 else cloth * np.float32(0.74), "hat")


def _draw_brim(canvas: Canvas, person: Person, cloth: np.ndarray, *, fit: _Fit, rng: np.random.Generator) -> None:
    pose, unit, wide, low = person.pose, person.pose.unit, fit.wide, fit.low
    rim = pose.outline(ellipse((0, low - 0.02), rng.uniform(1.75, 2.1), rng.uniform(0.32, 0.46), points=40), 0.1)
    canvas.shade(rim + floats([0, 0.16 * unit]), 0.62, 0.08 * unit, on=_SHADOWED)
    canvas.paint(rim, cloth * np.float32(0.74), "hat")
    dome = _dome(fit, high=rng.uniform(1.95, 2.2), box=0.92)
    foot = symmetric([(0, low - 0.16), (0.6, low - 0.12), (wide - 0.08, low + 0.08)])
    crown = pose.outline(np.concatenate([dome, open_curve(foot)[::-1]]), -0.05)
    canvas.paint(crown, cloth, "hat")
    band = pose.outline(open_curve(foot) - floats([0, 0.14]), -0.05)
    canvas.paint(ribbon(band, 0.26 * unit), person.accent, within=canvas.mask(crown))


def _draw_beret(canvas: Canvas, person: Person, cloth: np.ndarray, *, fit: _Fit, rng: np.random.Generator) -> None:
    wide, low, front = fit
    pose, lean = person.pose, rng.choice([-1.0, 1.0])
    puff = symmetric([(0.7, -1.85), (wide + 0.3, low - 0.4), (wide, low + 0.2)])
    puff[1:-1] += floats([0.15 * lean, 0])
    puff = np.concatenate([puff, floats([(0, low)])])
    canvas.paint(pose.outline(closed_curve(puff), -0.1), cloth, "hat")
    canvas.paint(ribbon(front, 0.2 * pose.unit), cloth * np.float32(0.74), "hat")
