"""Head, ears and neck: bare skin and its shading."""

import cv2
import numpy as np
from numpy.typing import ArrayLike

from dmlcsr_jax.datasets.faces.canvas import Canvas, closed_curve, ellipse, floats, open_curve, ribbon, symmetric
from dmlcsr_jax.datasets.faces.person import Person, mix

SIDES = (("l", 1.0), ("r", -1.0))  # the subject's left is the right of the image

# The edge of the ear: distance from the head, and height below the ear's center.
_EAR = ((-0.1, 0), (-0.08, -0.25), (0.1, -0.36), (0.25, -0.3), (0.3, -0.08), (0.24, 0.14), (0.16, 0.32), (0.06, 0.36))
_EAR_FOLD = ((0.06, -0.22), (0.18, -0.24), (0.22, -0.06), (0.15, 0.1), (0.08, 0.16))


def lit(color: ArrayLike, lambert: np.ndarray) -> np.ndarray:
    """[3, S, S] image of a matte color in light of intensity `lambert` ([S, S], 0–1); shadows are warm."""
    bright = floats(color)[:, None, None]
    dark = bright * floats((0.66, 0.55, 0.52))[:, None, None]
    return dark + lambert * (np.minimum(bright * np.float32(1.07), 252) - dark)


def draw_ears(canvas: Canvas, person: Person, skin: np.ndarray) -> None:
    """Both ears, behind the head, each with a fold."""
    unit = person.pose.unit
    for side, sign in SIDES:
        name, on = f"{side}_ear", (f"{side}_ear",)
        canvas.paint(ear_points(person, sign, closed_curve(_EAR)), skin, name)
        fold = ribbon(ear_points(person, sign, open_curve(_EAR_FOLD)), 0.07 * unit)
        canvas.shade(fold, (0.72, 0.6, 0.58), 0.02 * unit, on=on)
        canal = ear_points(person, sign, ellipse((0.06, 0.02), 0.06, 0.12, points=12))
        canvas.shade(canal, (0.68, 0.55, 0.53), 0.02 * unit, on=on)


def ear_points(person: Person, sign: float, points: ArrayLike) -> np.ndarray:
    """[N, 2] points (distance from the head, height below the ear's center) -> [N, 2] pixels."""
    off, down = np.asarray(points, np.float32).T
    x = sign * (0.95 + 0.9 * off - 0.06 * down)
    return person.pose.head(np.stack([x, 0.2 + down, -0.05 - 0.55 * off], 1))


def head_outline(person: Person) -> np.ndarray:
    """[N, 2] pixels of the edge of the head, including the scalp."""
    skull = [(0.0, -1.5), (0.42, -1.43), (0.76, -1.18), (0.96, -0.72), (1.0, -0.2), (0.98, 0.25)]
    low = person.length
    jaw = [(person.jaw, 0.54 * low), (person.chin + 0.3, 0.83 * low), (person.chin, 0.985 * low), (0.0, low)]
    outline = closed_curve(symmetric(skull + jaw))
    depth = np.interp(outline[:, 1], [-1.5, -0.6, 0.2, 1.5], [-0.25, -0.1, 0.1, 0.5])
    return person.pose.outline(outline, depth)


def draw_head(canvas: Canvas, person: Person, *, skin: np.ndarray, rng: np.random.Generator) -> None:
    """The face and scalp with cheeks, eye sockets, freckles, wrinkles and beard."""
    pose, unit, on = person.pose, person.pose.unit, ("skin",)
    canvas.paint(head_outline(person), skin, "skin")
    blush = (1.0, rng.uniform(0.86, 0.95), rng.uniform(0.86, 0.95))
    for _, sign in SIDES:
        canvas.shade(pose.face(ellipse((sign * 0.58, 0.48), 0.26, 0.2)), blush, 0.1 * unit, on=on)
        canvas.shade(pose.face(ellipse((sign * 0.43, -0.08), 0.3, 0.2)), (0.9, 0.84, 0.83), 0.08 * unit, on=on)
        if person.old:
            line = pose.face(open_curve([(sign * 0.34, 0.5), (sign * 0.48, 0.68), (sign * 0.54, 0.88)]))
            canvas.shade(ribbon(line, 0.04 * unit), (0.78, 0.7, 0.68), 0.02 * unit, on=on)
    canvas.shade(pose.face(ellipse((0, -0.85), 0.4, 0.22)), 1.06, 0.14 * unit, on=on)
    dent = ellipse((0, person.length - 0.34), 0.24, 0.05, points=12)
    canvas.shade(pose.face(dent), (0.86, 0.78, 0.76), 0.04 * unit, on=on)
    if rng.random() < 0.18:
        spots = pose.face(rng.normal((0, 0.3), (0.45, 0.16), (40, 2)))
        dots = [ellipse(spot, 0.016 * unit, 0.016 * unit, points=6) for spot in spots]
        canvas.paint(dots, person.skin * floats([0.75, 0.62, 0.55]), alpha=0.6, on=on)
    if person.beard:
        _draw_beard(canvas, person, rng)


def _draw_beard(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """A beard; it is labeled as skin, as in data sets of real faces."""
    pose, unit, on = person.pose, person.pose.unit, ("skin",)
    width, top = (0.46, 0.7) if person.beard == "goatee" else (1.08, 0.25)
    edge = [(0.3, 0.62), (0.5 * width, 0.72), (0.78 * width, 0.66), (0.98 * width, top)]
    outline = pose.face(closed_curve(symmetric([*edge, (1.1 * width, person.length + 0.1)])))
    if person.beard == "stubble":
        canvas.shade(outline, mix((0.8, 0.78, 0.8), person.hair / 255, share=0.25), 0.1 * unit, on=on)
        return
    grain = cv2.resize(rng.uniform(0.7, 1.25, (80, 110)).astype(np.float32), (canvas.size, canvas.size))
    canvas.shade(outline, 0.75, 0.05 * unit, on=on)
    hair = (person.hair * np.float32(0.85))[:, None, None] * grain
    canvas.paint(outline, np.minimum(hair, 250), alpha=0.88, on=on)


def collar_width(person: Person) -> float:
    """Distance from the center at which the garment meets the neck, in face units."""
    width = {"scoop": 0.98, "vee": 0.78, "turtle": 0.55, "shirt": 0.62}.get(person.neckline, 0.72)
    return width if person.soft else width + 0.08


def draw_neck(canvas: Canvas, person: Person, skin: np.ndarray) -> None:
    """Neck and chest down to the bottom of the image, with the shadow of the chin."""
    pose, unit, on = person.pose, person.pose.unit, ("neck",)
    wide, near = 0.56 if person.soft else 0.7, collar_width(person)
    slope = [(wide, 1.5), (wide + 0.03, 1.68), (near - 0.04, 1.86), (near + 0.2, 2.12), (1.3, 2.6), (1.3, 5.0)]
    right = open_curve(slope, 4)
    top = pose.outline([(-wide, 0.6), (wide, 0.6)])
    canvas.paint(np.concatenate([top, pose.body(right), pose.body(right[::-1] * floats([-1, 1]))]), skin, "neck")
    chin = floats([-0.25 * pose.light[0], 0.22 - 0.25 * pose.light[1]]) * np.float32(unit)
    canvas.shade(head_outline(person) + chin, (0.66, 0.56, 0.54), 0.07 * unit, on=on)
    for sign in (-1.0, 1.0):
        bone = pose.body(open_curve([(sign * 0.1, 2.06), (sign * 0.4, 2.0), (sign * 1.1, 2.04)]))
        canvas.shade(ribbon(bone, 0.05 * unit), (0.82, 0.75, 0.73), 0.04 * unit, on=on)
