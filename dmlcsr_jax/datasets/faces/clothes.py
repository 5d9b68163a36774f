"""Clothes and their patterns."""

import cv2
import numpy as np

from dmlcsr_jax.datasets.faces.canvas import Canvas, closed_curve, floats, open_curve, ribbon, symmetric
from dmlcsr_jax.datasets.faces.person import Color, Person
from dmlcsr_jax.datasets.faces.skin import collar_width, lit

_CLOTH = ("cloth",)


def draw_pattern(
    kind: str,
    colors: tuple[Color, Color],
    *,
    grid: tuple[np.ndarray, np.ndarray],
    lambert: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """[3, S, S] image of a woven or printed pattern in two colors, lit.

    Args:
      kind: "plain", "stripes", "plaid", "dots", "knit" or "flowers".
      colors: RGB colors of the ground and of the pattern.
      grid: face coordinates (x, y) of each pixel.
      lambert: [S, S], the cosine of the light's angle of incidence, 0–1.
      rng: determines scale, direction and folds.
    """
    first, second = colors
    x, y = grid
    shape, turn, scale = lambert.shape, rng.uniform(-0.6, 0.6), rng.uniform(8, 22)
    cos, sin = np.float32(scale * np.cos(turn)), np.float32(scale * np.sin(turn))
    along, across = x * cos + y * sin, y * cos - x * sin
    folds = cv2.resize(rng.normal(0, 0.06, (5, 7)).astype(np.float32), shape, interpolation=cv2.INTER_CUBIC)
    ground = lit(first, lambert + folds)
    if kind == "plain":
        return ground
    if kind == "stripes":
        share = np.clip(np.sin(across) * 3 + np.float32(rng.uniform(-1, 1)), 0, 1)
    elif kind == "plaid":
        share = 0.5 * (np.sin(along) > 0.3) + 0.35 * (np.sin(across) > 0.3)
    elif kind == "dots":
        share = np.clip((np.sin(along) * np.sin(across) - 0.45) * 6, 0, 1)
    elif kind == "knit":
        share = 0.22 * np.sin(2.2 * along + 1.5 * np.sin(across)) + 0.22
    else:
        spots = cv2.resize(rng.random((18, 18), np.float32), shape, interpolation=cv2.INTER_CUBIC)
        share = np.clip((spots - 0.68) * 9, 0, 1)
    ground += share.astype(np.float32) * (lit(second, lambert) - ground)
    return ground


def draw_clothes(canvas: Canvas, person: Person, *, cloth: np.ndarray, rng: np.random.Generator) -> None:
    """A garment over the shoulders with a neckline."""
    pose, unit, style, near = person.pose, person.pose.unit, person.neckline, collar_width(person)
    drop = rng.uniform(0, 0.14) + (0.1 if person.soft else 0)
    height, deep = 1.86 + 0.5 * drop, _depth(style, rng)
    right = open_curve([(near, height), (1.2, 2.02 + drop), (1.85, 2.25 + drop), (2.2, 2.8), (2.5, 5.0)], 4)
    neck = [(0, deep), (near, height)] if style == "vee" else [(0, deep), (0.72 * near, deep - 0.1), (near, height)]
    neck = symmetric(neck) if style == "vee" else open_curve(symmetric(neck))
    outline = pose.body(np.concatenate([neck, right[1:], right[:0:-1] * floats([-1, 1])]))
    canvas.shade(outline - floats([0, 0.04 * unit]), (0.72, 0.64, 0.62), 0.05 * unit, on=("neck",))
    canvas.paint(outline, cloth, "cloth")
    if style == "turtle":
        _draw_roll_neck(canvas, person, cloth)
    elif style in ("shirt", "jacket"):
        _draw_collar(canvas, person, cloth, near)
    else:
        trim = person.accent if rng.random() < 0.4 else person.cloth * np.float32(0.8)
        canvas.paint(ribbon(pose.body(neck), 0.07 * unit), trim, "cloth")
    for sign in (-1.0, 1.0):
        fold = pose.body(open_curve([(sign * 1.55, 2.25), (sign * 1.4, 2.7), (sign * 1.5, 3.4)]))
        canvas.shade(ribbon(fold, 0.1 * unit), 0.82, 0.06 * unit, on=_CLOTH)


def _depth(style: str, rng: np.random.Generator) -> float:
    """Height of the lowest point of the neckline, in face units."""
    if style in ("vee", "scoop"):
        return rng.uniform(2.5, 3.1) if style == "vee" else rng.uniform(2.4, 2.75)
    return {"crew": 2.1, "turtle": 1.8}.get(style, 2.2)


def _draw_roll_neck(canvas: Canvas, person: Person, cloth: np.ndarray) -> None:
    pose, unit, wide = person.pose, person.pose.unit, 0.6 if person.soft else 0.74
    fold = symmetric([(0, 2.2), (wide + 0.12, 1.95)])
    roll = np.concatenate([symmetric([(0, 1.62), (wide, 1.5)]), fold[::-1]])
    canvas.paint(pose.body(closed_curve(roll)), cloth * np.float32(1.06), "cloth")
    canvas.shade(ribbon(pose.body(open_curve(fold)), 0.06 * unit), 0.7, 0.03 * unit, on=_CLOTH)


def _draw_collar(canvas: Canvas, person: Person, cloth: np.ndarray, near: float) -> None:
    pose, unit = person.pose, person.pose.unit
    if person.neckline == "jacket":  # a shirt of another color shows between the lapels
        front = [*symmetric([(0, 2.25), (0.3, 2.1), (near, 1.9)]), (0, 3.6)]
        canvas.paint(pose.body(front), person.accent, "cloth")
        flap = [(near + 0.1, 1.84), (near - 0.12, 1.86), (0, 3.4), (0.5, 2.9), (0.86, 2.75), (0.74, 2.5), (1, 2.4)]
    else:
        flap = [(near + 0.06, 1.76), (near - 0.08, 1.74), (0.02, 2.3), (0.34, 2.62), (0.9, 2.06)]
    for sign in (-1.0, 1.0):
        outline = pose.body(floats(flap) * floats([sign, 1]))
        canvas.shade(outline + floats([0, 0.04 * unit]), 0.72, 0.035 * unit, on=("cloth", "neck"))
        canvas.paint(outline, cloth * np.float32(1.1), "cloth")
