"""Lips, teeth and tongue."""

import numpy as np

from dmlcsr_jax.datasets.faces.canvas import Canvas, ellipse, floats, open_curve, ribbon, symmetric
from dmlcsr_jax.datasets.faces.person import Person, jitter, mix

_FACE = ("skin", "nose", "mouth", "u_lip", "l_lip")  # so that nothing sticks out beyond the edge of a turned head


def draw_mouth(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """A closed, smiling or open mouth."""
    pose, unit = person.pose, person.pose.unit
    wide, y = rng.uniform(0.36, 0.44) + 0.08 * max(person.smile, 0), rng.uniform(0.84, 0.92)
    full = rng.uniform(0.9, 1.25) if person.soft else rng.uniform(0.75, 1.05)
    gap = 0.32 * person.mouth_open
    low, corner = y + gap, y - 0.1 * person.smile  # heights of the lower lip's upper edge and of the corners
    seam = (0.88 * wide, corner + 0.01)
    inner_top = open_curve(symmetric([(0, y), (0.4 * wide, y - 0.015), seam]))
    inner_low = open_curve(symmetric([(0, low), (0.45 * wide, low - 0.25 * gap), seam]))
    bow = [(0, y - 0.125 * full), (0.14 * wide, y - 0.16 * full), (0.45 * wide, y - 0.12 * full), (wide, corner)]
    pout = [(0, low + 0.19 * full), (0.56 * wide, low - 0.24 * gap + 0.13 * full), (wide, corner)]
    top, bottom = open_curve(symmetric(bow)), open_curve(symmetric(pout))
    canvas.shade(pose.face(bottom + floats([0, 0.06])), (0.8, 0.72, 0.7), 0.04 * unit, on=("skin",))
    if gap:
        _draw_inside(canvas, person, top=inner_top, bottom=inner_low, rng=rng)
    upper = pose.face(np.concatenate([top, inner_top[::-1]]))
    canvas.paint(upper, person.lip * np.float32(0.86), "u_lip", on=_FACE)
    canvas.paint(pose.face(np.concatenate([inner_low, bottom[::-1]])), person.lip, "l_lip", on=_FACE)
    gloss = pose.face(ellipse((0, low + 0.09 * full), 0.4 * wide, 0.03))
    canvas.shade(gloss, 1.16, 0.03 * unit, on=("l_lip",))
    if not gap:
        line = ribbon(pose.face(inner_top), 0.035 * unit)
        canvas.paint(line, person.lip * floats([0.5, 0.38, 0.4]), alpha=0.9, on=_FACE)


def _draw_inside(
    canvas: Canvas, person: Person, *, top: np.ndarray, bottom: np.ndarray, rng: np.random.Generator
) -> None:
    """The inside of an open mouth, with teeth above and the tongue below; its edges are in face coordinates."""
    pose, unit, on = person.pose, person.pose.unit, ("mouth",)
    outline = pose.face(np.concatenate([top, bottom[::-1]]))
    canvas.paint(outline, jitter(rng, (70, 24, 28), 8), "mouth", on=_FACE)
    wide, low, gap = top[-1, 0], bottom[:, 1].max(), bottom[:, 1].max() - top[:, 1].max()
    canvas.paint(pose.face(ellipse((0, low), 0.55 * wide, 0.4 * gap)), (186, 88, 92), on=on)
    depth = min(0.13, 0.75 * gap)
    edge = top * floats([0.86, 1]) + floats([0, depth])
    teeth = pose.face(np.concatenate([top * floats([0.92, 1]), edge[::-1]]))
    canvas.paint(teeth, mix((244, 240, 230), person.skin, share=0.06), on=on)
    across = np.linspace(-0.7, 0.7, 7) * wide
    lines = [pose.face([(x, low - gap - 0.1), (x, low - gap + depth)]) for x in across]
    canvas.shade([ribbon(line, 0.012 * unit) for line in lines], 0.85, 0.5, on=on)
    canvas.shade(outline, (0.86, 0.8, 0.8), 0.05 * unit, on=on)
