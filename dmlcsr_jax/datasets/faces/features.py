"""Eyes, brows and nose."""

from typing import NamedTuple, TypeAlias

import numpy as np

from dmlcsr_jax.datasets.faces.canvas import Canvas, closed_curve, ellipse, floats, open_curve, ribbon, symmetric
from dmlcsr_jax.datasets.faces.person import Person, jitter, mix
from dmlcsr_jax.datasets.faces.skin import SIDES

_BARE = ("skin", "nose")


class _Eye(NamedTuple):
    """The shape of both eyes, in face units, and their make-up (None for none)."""

    width: float
    upper: float
    lower: float
    tilt: float
    gaze: np.ndarray
    apart: float
    make_up: np.ndarray | None


# Face coordinates of the edges of the upper and lower lid, each from the inner to the outer corner.
_Lids: TypeAlias = tuple[np.ndarray, np.ndarray]


class _Brow(NamedTuple):
    """The shape of both brows, in face units, and their opacity."""

    height: float
    arch: float
    thick: float
    frown: float
    alpha: float


def draw_eyes(canvas: Canvas, person: Person, *, skin: np.ndarray, rng: np.random.Generator) -> None:
    """Both eyes, open or closed, and the brows."""
    eye = _Eye(
        width=rng.uniform(0.235, 0.285),
        upper=rng.uniform(0.13, 0.18),
        lower=rng.uniform(0.07, 0.11),
        tilt=rng.normal(0.02, 0.035),
        gaze=rng.normal(0, (0.06, 0.02)),
        apart=rng.uniform(0.4, 0.45),
        make_up=rng.uniform(0.6, 0.9, 3) if person.soft and rng.random() < 0.4 else None,
    )
    brow = _Brow(
        height=rng.uniform(0.34, 0.46),
        arch=rng.uniform(0.02, 0.12),
        thick=rng.uniform(0.115, 0.155) if person.soft else rng.uniform(0.14, 0.2),
        frown=rng.normal(0, 0.04),
        alpha=rng.uniform(0.65, 1),
    )
    for side, sign in SIDES:
        lids = _lids(sign, eye, person.eyes_open or 0.62)
        if person.eyes_open:
            _draw_open_eye(canvas, person, name=f"{side}_eye", sign=sign, eye=eye, lids=lids)
        else:
            _draw_closed_eye(canvas, person, name=f"{side}_eye", skin=skin, lids=lids)
        _draw_brow(canvas, person, name=f"{side}_brow", sign=sign, brow=brow)


def _lids(sign: float, eye: _Eye, opened: float) -> _Lids:
    """The edges of the lids of one eye."""
    share = floats([-1, -0.55, 0.05, 0.6, 1])
    upper = floats([0.03, -0.72, -1.0, -0.72, 0]) * eye.upper * opened - eye.tilt * share
    lower = floats([0.03, 0.55, 0.95, 0.9, 0]) * eye.lower - eye.tilt * share
    x = sign * (eye.apart + eye.width * share)
    return open_curve(np.stack([x, upper], 1)), open_curve(np.stack([x, lower], 1))


def _draw_closed_eye(canvas: Canvas, person: Person, *, name: str, skin: np.ndarray, lids: _Lids) -> None:
    """The lid, down to the lashes."""
    upper, lower = lids
    outline = person.pose.face(np.concatenate([upper, lower[::-1]]))
    canvas.paint(outline, skin * floats([[[0.9]], [[0.84]], [[0.83]]]), name, on=_BARE)
    _draw_lashes(canvas, person, lower, [0.5, 1.2, 0.8])


def _draw_open_eye(canvas: Canvas, person: Person, *, name: str, sign: float, eye: _Eye, lids: _Lids) -> None:
    upper, lower = lids
    pose, unit, on = person.pose, person.pose.unit, (name,)
    if eye.make_up is not None:
        lid = np.concatenate([upper + floats([0, -0.1]), upper[::-1]])
        canvas.shade(pose.face(lid), eye.make_up, 0.04 * unit, on=("skin",))
    white = mix((246, 244, 240), person.skin, share=0.08)
    canvas.paint(pose.face(np.concatenate([upper, lower[::-1]])), white, name, on=_BARE)
    looks_at = (sign * eye.apart + eye.gaze[0], -0.035 * person.eyes_open + eye.gaze[1])
    center = pose.face([looks_at])[0]
    for radius, color in ((0.125, person.iris * 0.55), (0.105, person.iris), (0.055, (12, 10, 12))):
        canvas.paint(ellipse(center, radius * unit, radius * unit, points=20), color, on=on)
    canvas.shade(ribbon(pose.face(upper), 0.1 * unit), (0.62, 0.6, 0.62), 0.025 * unit, on=on)
    glint = center + floats([0.045 * np.sign(pose.light[0]), -0.05]) * np.float32(unit)
    canvas.paint(ellipse(glint, 0.026 * unit, 0.026 * unit, points=10), (252, 252, 252), on=on)
    if person.soft:
        upper = np.concatenate([upper, upper[-1:] + floats([sign * 0.07, -0.06])])
    _draw_lashes(canvas, person, upper, [0.4, 1, 1.1 if person.soft else 1.3])
    for line, factor in ((upper[3:24] + floats([0, -0.065]), (0.66, 0.56, 0.54)), (lower, (0.75, 0.64, 0.62))):
        canvas.shade(ribbon(pose.face(line), 0.03 * unit), factor, 0.012 * unit, on=("skin",))


def _draw_lashes(canvas: Canvas, person: Person, line: np.ndarray, widths: list[float]) -> None:
    width = np.interp(np.linspace(0, 1, len(line)), [0, 0.45, 1], widths)
    thick = (0.06 if person.soft else 0.045) * person.pose.unit
    dark = mix(person.brow * 0.5, (24, 16, 14), share=0.5)
    canvas.paint(ribbon(person.pose.face(line), thick * width), dark, on=(*_BARE, "l_eye", "r_eye"))


def _draw_brow(canvas: Canvas, person: Person, *, name: str, sign: float, brow: _Brow) -> None:
    y, arch = -brow.height, brow.arch
    line = [(0.15, y + brow.frown - 0.03), (0.36, y - 0.6 * arch - 0.02), (0.58, y - arch), (0.78, y + 0.1)]
    curve = open_curve(floats(line) * floats([sign, 1]))
    profile = np.interp(np.linspace(0, 1, len(curve)), [0, 0.12, 0.5, 1], [0.7, 1, 0.95, 0.3])
    width = (brow.thick * profile).astype(np.float32)
    canvas.paint(person.pose.face(ribbon(curve, width)), person.brow, name, alpha=brow.alpha, on=_BARE)
    root, tall = curve[1:-2:2] + floats([0, 0.07]), width[1:-2:2]
    tip = root + np.stack([np.full_like(tall, sign * 0.1), -0.75 * tall], 1)
    hairs = person.pose.face(np.stack([root, root + floats([0.035, 0.01]), tip], 1).reshape(-1, 2))
    canvas.paint(list(hairs.reshape(-1, 3, 2)), person.brow * np.float32(0.7), alpha=0.3, on=(name,))


def draw_nose(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """The nose, which only light and shadow set apart from the skin."""
    pose, unit, on = person.pose, person.pose.unit, ("nose",)
    wing, base, bridge = rng.uniform(0.25, 0.35), rng.uniform(0.5, 0.62), rng.uniform(0.09, 0.13)
    side = [(0.6 * bridge, -0.2), (bridge, 0.05), (bridge + 0.05, 0.24)]
    tip = [(wing, base - 0.14), (wing - 0.03, base - 0.01), (0.5 * wing, base + 0.02)]
    outline = symmetric(open_curve([*side, *tip], 4)[::-1])
    outline = pose.face(outline, np.interp(outline[:, 1], [-0.2, 0.1, base], [0.02, 0.06, 0.05]))
    canvas.paint(outline, jitter(rng, person.skin, 2), "nose", alpha=0.25, on=("skin",))
    away = -1.0 if pose.light[0] + 1.2 * pose.yaw > 0 else 1.0
    flank = [(0.02, -0.1), (0.04, 0.2), (0.1, base - 0.06), (wing, base), (bridge + 0.06, 0.2), (bridge, -0.1)]
    flank = closed_curve(floats(flank) * floats([away, 1]), 4)
    canvas.shade(pose.face(flank, 0.08), (0.8, 0.72, 0.7), 0.035 * unit, on=_BARE)
    ridge = pose.face([(0, -0.1), (0, 0.2), (0, base - 0.11)], 0.5 * rng.uniform(0.14, 0.24))
    canvas.shade(ribbon(ridge, floats([0.05, 0.07, 0.13]) * np.float32(unit)), 1.13, 0.035 * unit, on=on)
    under = closed_curve([(-0.8 * wing, base), (0, base + 0.03), (0.8 * wing, base), (0, base - 0.08)], 4)
    canvas.shade(pose.face(under, 0.08), (0.7, 0.58, 0.56), 0.03 * unit, on=_BARE)
    for sign in (-1.0, 1.0):
        nostril = pose.face(ellipse((sign * 0.48 * wing, base - 0.03), 0.07, 0.035, points=12), 0.08)
        canvas.paint(nostril, person.skin * floats([0.42, 0.3, 0.28]), alpha=0.85, on=on)
        edge = [(sign * (wing - 0.05), base - 0.17), (sign * wing, base - 0.08), (sign * (wing - 0.04), base)]
        crease = ribbon(pose.face(open_curve(edge, 4), 0.05), 0.04 * unit)
        canvas.shade(crease, (0.72, 0.62, 0.6), 0.015 * unit, on=_BARE)
