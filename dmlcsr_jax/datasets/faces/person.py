"""A random person: the pose, colors and styles of one face."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from dmlcsr_jax.datasets.faces.canvas import floats
from dmlcsr_jax.datasets.faces.pose import Pose

Color: TypeAlias = np.ndarray  # [3] float32, RGB, 0–255
T = TypeVar("T")

_SKIN = (
    (250, 219, 200), (244, 205, 178), (236, 190, 158), (226, 172, 136), (212, 154, 112),
    (190, 130, 90), (162, 106, 72), (130, 82, 56), (102, 64, 46), (78, 50, 38),
)  # fmt: skip
_HAIR = (
    (28, 24, 26), (42, 32, 30), (66, 44, 34), (92, 60, 40), (122, 80, 50), (150, 78, 40), (176, 124, 72),
    (206, 164, 102), (228, 200, 150), (150, 148, 150), (214, 212, 210), (196, 92, 130), (74, 96, 140),
)  # fmt: skip
_HAIR_ODDS = np.array([14, 14, 13, 11, 10, 7, 8, 7, 6, 5, 4, 2, 2], float)
_GRAY, _FAIR = np.isin(np.arange(13), (9, 10)), np.isin(np.arange(13), (6, 7, 8))
_CLOTH = (
    (38, 42, 54), (64, 84, 120), (152, 42, 48), (226, 222, 212), (78, 104, 82), (214, 160, 62), (120, 82, 122),
    (70, 130, 150), (196, 120, 96), (30, 30, 32), (172, 176, 182), (232, 170, 170), (110, 74, 52), (240, 240, 244),
)  # fmt: skip
_LIPS = ((206, 70, 84), (184, 44, 60), (150, 52, 70), (222, 112, 110))
_STYLES = ("bald", "buzz", "short", "curls", "bob", "long", "updo")
_STYLE_ODDS_SOFT, _STYLE_ODDS = (2, 4, 14, 16, 22, 40, 12), (13, 14, 40, 14, 4, 13, 2)
_IRIS = ((70, 44, 28), (96, 62, 36), (60, 40, 30), (88, 112, 76), (84, 126, 158), (112, 128, 136), (120, 96, 50))


@dataclasses.dataclass(frozen=True)
class Person:
    """Colors are RGB, 0–255; lengths are in face units (half the width of the head); styles are names.

    Attributes:
      soft, old: `soft` affects jaw, neck, make-up and beard; `old` adds wrinkles and gray hair.
      accent, felt: the second color of the clothes, and the color of the hat.
      jaw, chin, length: half width at the corners of the jaw, half width of the chin, and height of the chin.
      hair_style: "bald", "buzz", "short", "curls", "bob", "long" or "updo".
      front: how the hair meets the forehead: "fringe", "side", "center" or "back".
      ears_covered: whether hair covers the ears `l_ear` and `r_ear`.
      volume: thickness of the hair.
      curl: 0 for straight hair to 1 for tight curls.
      mouth_open, eyes_open: 0 if closed.
      hat, glasses, earring, necklace, occluder: their style, or "" for none.
    """

    pose: Pose
    soft: bool
    old: bool
    skin: Color
    hair: Color
    brow: Color
    lip: Color
    iris: Color
    cloth: Color
    accent: Color
    felt: Color
    jaw: float
    chin: float
    length: float
    hair_style: str
    front: str
    ears_covered: tuple[bool, bool]
    volume: float
    curl: float
    hair_length: float
    beard: str
    mouth_open: float
    smile: float
    eyes_open: float
    hat: str
    glasses: str
    earring: str
    necklace: str
    neckline: str
    pattern: str
    occluder: str


def jitter(rng: np.random.Generator, color: ArrayLike, spread: float) -> Color:
    """Varies the brightness and, less, the hue of a color."""
    shift = rng.normal(0, spread) + rng.normal(0, 0.4 * spread, 3)
    return np.clip(floats(color) + shift, 8, 250).astype(np.float32)


def mix(first: ArrayLike, second: ArrayLike, *, share: float) -> Color:
    """Interpolates from `first` (share 0) to `second` (share 1)."""
    return (floats(first) * (1 - share) + floats(second) * share).astype(np.float32)


def pick(rng: np.random.Generator, options: Sequence[T], odds: ArrayLike | None = None) -> T:
    """A random option; all are equally likely unless `odds` has their relative weights."""
    edges = np.cumsum(np.ones(len(options)) if odds is None else odds)
    return options[int(np.searchsorted(edges, rng.random() * edges[-1], "right"))]


def _maybe(
    rng: np.random.Generator, probability: float, options: Sequence[str], *, odds: ArrayLike | None = None
) -> str:
    style = pick(rng, options, odds)
    return style if rng.random() < probability else ""


def sample_pose(rng: np.random.Generator, size: int) -> Pose:
    """Random scale, position, rotation and light."""
    unit = rng.uniform(0.195, 0.275)
    light = np.array([rng.uniform(-0.75, 0.75), rng.uniform(-0.65, 0.1), rng.uniform(0.6, 0.9)])
    x, y, z = light / np.linalg.norm(light)
    return Pose(
        unit=unit * size,
        center=(size * rng.normal(0.5, 0.035), size * (0.60 - unit * rng.uniform(0.62, 0.95))),
        roll=float(np.clip(rng.normal(0, 0.16), -0.45, 0.45)),
        yaw=float(np.clip(rng.normal(0, 0.27), -0.58, 0.58)),
        pitch=float(np.clip(rng.normal(0, 0.09), -0.2, 0.2)),
        light=(float(x), float(y), float(z)),
    )


def sample_person(rng: np.random.Generator, size: int) -> Person:
    """Random traits; those that are correlated in reality are correlated here."""
    soft, old = bool(rng.random() < 0.52), bool(rng.random() < 0.2)
    style = pick(rng, _STYLES, _STYLE_ODDS_SOFT if soft else _STYLE_ODDS)
    curl = rng.uniform(0.75, 1) if style == "curls" else pick(rng, (0, 0, 0.3, 0.6)) * rng.random()
    covered = rng.random(2) < (0.62 if style in ("bob", "long") else 0)
    return Person(
        pose=sample_pose(rng, size),
        soft=soft,
        old=old,
        **_sample_colors(rng, soft=soft, old=old),
        jaw=rng.uniform(0.78, 0.86) if soft else rng.uniform(0.83, 0.93),
        chin=rng.uniform(0.2, 0.28) if soft else rng.uniform(0.27, 0.38),
        length=rng.uniform(1.36, 1.55),
        hair_style=style,
        front=pick(rng, ("fringe", "side", "center", "back"), (30, 30, 22, 18) if soft else (18, 36, 8, 38)),
        ears_covered=(bool(covered[0]), bool(covered[1])),
        volume={"buzz": 0.03, "curls": rng.uniform(0.25, 0.5)}.get(style, rng.uniform(0.1, 0.28)),
        curl=curl,
        hair_length={"bob": rng.uniform(0.95, 1.6), "long": rng.uniform(1.9, 3.2)}.get(style, 0.5),
        beard="" if soft else _maybe(rng, 0.45, ("stubble", "full", "goatee")),
        mouth_open=rng.uniform(0.4, 1) if rng.random() < 0.6 else 0.0,
        smile=float(np.clip(rng.normal(0.35, 0.45), -0.5, 1)),
        eyes_open=rng.uniform(0.6, 1.1) if rng.random() < 0.88 else 0.0,
        hat=_maybe(rng, 0.36, ("beanie", "cap", "brim", "beret"), odds=(30, 28, 24, 18)),
        glasses=_maybe(rng, 0.34, ("round", "square", "cat")),
        earring=_maybe(rng, 0.72 if soft else 0.34, ("hoop", "stud", "drop", "beads")),
        necklace=_maybe(rng, 0.6 if soft else 0.34, ("beads", "chain", "choker")),
        neckline=pick(rng, ("crew", "vee", "scoop", "shirt", "turtle", "jacket"), (22, 20, 20, 16, 8, 14)),
        pattern=pick(rng, ("plain", "stripes", "plaid", "dots", "knit", "flowers"), (34, 18, 12, 12, 14, 10)),
        occluder=_maybe(rng, 0.18, ("hand", "microphone", "cup")),
    )


def _sample_colors(rng: np.random.Generator, *, soft: bool, old: bool) -> dict[str, Color]:
    """Colors of skin, hair, lips and clothes. Sometimes hair or clothes have almost the color of skin."""
    tone = int(rng.integers(len(_SKIN)))
    skin = jitter(rng, _SKIN[tone], 7)
    odds = _HAIR_ODDS * np.where(_GRAY, 12 if old else 1, 1) * np.where(_FAIR, 0.25 if tone > 5 else 1, 1)
    hair = jitter(rng, pick(rng, _HAIR, odds), 8)
    if rng.random() < 0.12:
        hair = jitter(rng, mix(hair, 0.82 * skin, share=0.75), 6)
    cloth, accent = jitter(rng, pick(rng, _CLOTH), 12), jitter(rng, pick(rng, _CLOTH), 12)
    if rng.random() < 0.25:
        cloth = mix(cloth, pick(rng, (skin, hair)), share=0.85)
    redness = rng.uniform(0.2, 0.8) if soft else rng.uniform(0, 0.25)
    lip = mix(skin * floats([0.9, 0.7, 0.7]), pick(rng, _LIPS), share=redness)
    brow = mix(hair * np.float32(0.72), (60, 44, 38), share=rng.uniform(0.1, 0.7))
    return {
        "skin": skin,
        "hair": hair,
        "brow": jitter(rng, brow, 5),
        "lip": jitter(rng, lip, 4),
        "iris": jitter(rng, pick(rng, _IRIS), 8),
        "cloth": cloth,
        "accent": accent,
        "felt": np.minimum(hair * np.float32(1.1), 250) if rng.random() < 0.25 else accent,
    }
