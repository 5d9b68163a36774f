"""Glasses, earrings and necklaces."""

from collections.abc import Sequence

import numpy as np

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
from dmlcsr_jax.datasets.faces.person import Color, Person, mix, pick
from dmlcsr_jax.datasets.faces.skin import SIDES, ear_points

# The edge of the lens on the right of the image, from its center, in face units.
_LENSES = {
    "round": ((-0.29, 0), (-0.2, -0.2), (0, -0.28), (0.2, -0.2), (0.29, 0), (0.2, 0.21), (0, 0.29), (-0.2, 0.21)),
    "square": ((-0.32, 0), (-0.31, -0.2), (0, -0.24), (0.32, -0.2), (0.34, 0), (0.28, 0.2), (0, 0.26), (-0.28, 0.2)),
    "cat": ((-0.3, 0), (-0.27, -0.2), (0, -0.22), (0.3, -0.28), (0.42, -0.26), (0.33, 0.1), (0.1, 0.24), (-0.22, 0.2)),
}
_FRAMES = ((28, 26, 30), (70, 42, 30), (120, 40, 46), (190, 160, 90), (170, 174, 180), (40, 60, 96))
_TINTS = ((30, 28, 34), (66, 46, 34), (40, 56, 50), (48, 52, 84))
_JEWELS = (
    (226, 186, 88), (208, 210, 216), (236, 232, 224), (60, 150, 140), (190, 50, 66), (46, 44, 52), (120, 80, 160),
)  # fmt: skip
_SHADE = (20, 16, 18)


def draw_glasses(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Frame and lenses. Eyes and brows keep their labels behind clear lenses; tinted lenses hide them."""
    if not person.glasses:
        return
    pose, unit = person.pose, person.pose.unit
    tint = floats(pick(rng, _TINTS)) if rng.random() < 0.42 else None
    frame, clarity = floats(pick(rng, _FRAMES)), rng.random()
    thick, scale = rng.uniform(0.05, 0.085) * unit, rng.uniform(1.02, 1.2)
    for _, sign in SIDES:
        lens = closed_curve(_LENSES[person.glasses]) * floats([sign * scale, scale])
        outline = pose.face(lens + floats([sign * 0.42, 0]), 0.08)
        rim = looped(outline)
        canvas.shade(ribbon(rim + floats([0, 0.06 * unit]), 1.3 * thick), 0.8, 0.03 * unit, on=("skin", "nose"))
        _draw_lens(canvas, person, outline=outline, sign=sign, tint=tint, clarity=clarity)
        canvas.paint(ribbon(rim, thick), frame, "eye_g")
        arm = [(sign * (0.42 + 0.3 * scale), -0.08, 0.7), (sign * 0.98, -0.1, 0.35), (sign * 1.02, 0.0, -0.2)]
        arm = ribbon(pose.head(open_curve(arm, 4)), thick)
        canvas.paint(arm, frame * 0.9, "eye_g", on=("skin", "l_ear", "r_ear", "eye_g"))
    bridge = pose.face(open_curve(symmetric([(0, -0.11), (0.42 - 0.29 * scale, -0.06)]), 4), 0.1)
    canvas.paint(ribbon(bridge, 1.3 * thick), frame, "eye_g")


def _draw_lens(
    canvas: Canvas, person: Person, *, outline: np.ndarray, sign: float, tint: Color | None, clarity: float
) -> None:
    if tint is None:
        on = ("skin", "nose", "hair", "eye_g")
        canvas.paint(outline, (222, 232, 240), "eye_g", alpha=0.08 + 0.12 * clarity, on=on)
    else:
        canvas.paint(outline, tint, "eye_g", alpha=0.9 + 0.07 * clarity)
        canvas.shade(outline[len(outline) // 2 :], 1.5, 0.1 * person.pose.unit, on=("eye_g",))
    glare = floats([(-0.14, -0.16), (-0.04, -0.18), (-0.16, 0.14), (-0.24, 0.1)]) + floats([sign * 0.42, 0])
    canvas.paint(person.pose.face(glare, 0.08), (250, 252, 255), alpha=0.3 if tint is None else 0.22)


def draw_earrings(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Earrings on the lobes that are visible; they hang straight down even if the head is tilted."""
    if not person.earring:
        return
    color, radius = floats(pick(rng, _JEWELS)), rng.uniform(0.11, 0.16) * person.pose.unit
    for (_, sign), covered in zip(SIDES, person.ears_covered, strict=True):
        hidden = sign * person.pose.yaw > 0.3
        if not covered and not hidden:
            lobe = ear_points(person, sign, [(0.1, 0.33)])[0]
            _draw_earring(canvas, person, lobe=lobe, radius=np.float32(radius), color=color)


def _draw_earring(canvas: Canvas, person: Person, *, lobe: np.ndarray, radius: np.float32, color: Color) -> None:
    style, accent = person.earring, person.accent
    dark, on = mix(color, _SHADE, share=0.4), ("ear_r",)
    if style == "stud":
        canvas.paint(ellipse(lobe, radius, radius), dark, "ear_r")
        canvas.paint(ellipse(lobe - 0.1 * radius, 0.75 * radius, 0.75 * radius), color, on=on)
    elif style == "hoop":
        ring = looped(ellipse(lobe + floats([0, 1.9]) * radius, 1.6 * radius, 1.9 * radius, points=30))
        canvas.paint(ribbon(ring, 0.85 * radius), dark, "ear_r")
        canvas.paint(ribbon(ring - 0.1 * radius, 0.4 * radius), color, on=on)
    elif style == "drop":
        drop = closed_curve(symmetric([(0, 0), (0.5, 1.2), (0.95, 2.2), (0.6, 3.1), (0, 3.4)]))
        canvas.paint(lobe + drop * radius, dark, "ear_r")
        canvas.paint(lobe + (drop * np.float32(0.7) + floats([-0.05, 0.6])) * radius, accent, on=on)
    else:
        for i, size in enumerate((0.8, 0.9, 1.05)):
            at, reach = lobe + floats([0, 0.2 + 1.6 * i]) * radius, size * radius
            canvas.paint(ellipse(at, reach, reach, points=16), dark, "ear_r")
            canvas.paint(
                ellipse(at - 0.1 * radius, 0.7 * reach, 0.7 * reach, points=14), accent if i % 2 else color, on=on
            )
    glint = ellipse(lobe - 0.3 * radius, 0.25 * radius, 0.25 * radius, points=8)
    canvas.paint(glint, mix(color, (255, 255, 255), share=0.45), on=on)


def draw_necklace(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Beads, a chain with a pendant, or a choker, on bare skin and cloth."""
    if not person.necklace:
        return
    pose, unit, on = person.pose, person.pose.unit, ("neck", "cloth", "neck_l")
    color = floats(pick(rng, _JEWELS))
    wide = (0.62 if person.soft else 0.76) + (0.14 if person.neckline == "turtle" else 0)
    if person.necklace == "choker":
        line = pose.body(open_curve(symmetric([(0.3, 1.74), (wide - 0.04, 1.6)])))
        canvas.paint(ribbon(line, rng.uniform(0.18, 0.25) * unit), color * np.float32(0.85), "neck_l", on=on)
        canvas.paint(ribbon(line, 0.05 * unit), np.minimum(color * 1.25, 255), on=("neck_l",))
        return
    low = rng.uniform(2.1, 2.42)
    line = pose.body(open_curve(symmetric([(0, low), (0.62 * wide, low - 0.14), (wide + 0.1, 1.78)]), 8))
    canvas.shade(ribbon(line + floats([0, 0.05 * unit]), 0.16 * unit), 0.72, 0.03 * unit, on=on)
    if person.necklace == "beads":
        radius = rng.uniform(0.09, 0.125) * unit
        _draw_beads(canvas, _along(line, 2.05 * radius), radius=radius, color=color, on=on)
        return
    canvas.paint(ribbon(line, 0.15 * unit), color * np.float32(0.72), "neck_l", on=on)
    links = [ellipse(at, 0.045 * unit, 0.045 * unit, points=8) for at in _along(line, 0.13 * unit)]
    canvas.paint(links, np.minimum(color * 1.15, 255), on=("neck_l",))
    pendant = line[len(line) // 2] + floats([0, 0.16 * unit])
    _draw_beads(canvas, pendant[None], radius=rng.uniform(0.14, 0.2) * unit, color=person.accent)


def _draw_beads(
    canvas: Canvas, centers: np.ndarray, *, radius: float, color: Color, on: Sequence[str] | None = None
) -> None:
    """Beads at [N, 2] pixels."""
    layers = ((0, 1, mix(color, _SHADE, share=0.35), 1), (0.12, 0.8, color, 1), (0.35, 0.3, (252, 250, 246), 0.8))
    for shift, size, tone, alpha in layers:
        discs = [
            ellipse(center, size * radius, size * radius, points=14) for center in centers - np.float32(shift * radius)
        ]
        outermost = size == 1
        canvas.paint(discs, tone, "neck_l" if outermost else None, alpha=alpha, on=on if outermost else ("neck_l",))


def _along(line: np.ndarray, step: float) -> np.ndarray:
    """Points at equal distances along a line."""
    length = np.concatenate([[0], np.cumsum(np.sqrt((np.diff(line, axis=0) ** 2).sum(1)))])
    at = np.arange(0, length[-1], step)
    return np.stack([np.interp(at, length, line[:, 0]), np.interp(at, length, line[:, 1])], 1).astype(np.float32)
