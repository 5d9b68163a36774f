"""Hair: behind the head and neck, over the forehead, and beside the face."""

import cv2
import numpy as np
from numpy.typing import ArrayLike

from dmlcsr_jax.datasets.faces.canvas import Canvas, closed_curve, ellipse, floats, open_curve, symmetric
from dmlcsr_jax.datasets.faces.person import Person
from dmlcsr_jax.datasets.faces.pose import Pose
from dmlcsr_jax.datasets.faces.skin import SIDES

_CENTER = (0.0, -0.55)  # of the hair's outline, in face units


def draw_strands(
    person: Person, *, grid: tuple[np.ndarray, np.ndarray], lambert: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """[3, S, S] image of hair: strands that fall from the parting, with gloss and waves or coils.

    Args:
      person: determines color and style.
      grid: face coordinates (x, y) of each pixel.
      lambert: [S, S], the cosine of the light's angle of incidence, 0–1.
      rng: determines parting, strands and gloss.
    """
    x, y = grid
    below = np.maximum(y + np.float32(1.75), np.float32(0.02))
    reach, angle = cv2.cartToPolar(x - np.float32(rng.uniform(-0.4, 0.4)), below)
    wave = np.float32(rng.uniform(0.02, 0.1) * (0.3 + person.curl))
    angle += wave * np.sin(reach * np.float32(rng.uniform(4, 8)) + np.float32(6 * rng.random()))
    noise = rng.normal(0, rng.uniform(0.05, 0.11), 1024)
    strands = np.convolve(noise, np.full(3, 1 / 3), "same") + np.convolve(noise, np.full(25, 4.2 / 25), "same")
    at = angle * np.float32(1023 / np.pi)
    border = cv2.BORDER_REFLECT
    tone = cv2.remap(strands.astype(np.float32)[None], at, np.zeros_like(at), cv2.INTER_LINEAR, borderMode=border)
    if person.curl > 0.5 or person.hair_style == "buzz":
        coils = rng.normal(0, 0.16, (34, 34)).astype(np.float32)
        tone = 0.5 * tone + cv2.resize(coils, x.shape, interpolation=cv2.INTER_CUBIC)
    ring = (reach - np.float32(rng.uniform(0.55, 0.9))) * np.float32(5)
    gloss = np.exp(-ring * ring) * np.float32(rng.uniform(0, 0.3))
    tone += 1 + gloss * (1 + 4 * tone)
    tone *= 0.62 + 0.5 * lambert
    color = person.hair + np.float32(28 if person.hair.mean() < 60 else 6)
    return np.minimum(tone * color[:, None, None], 252)


def draw_back_hair(canvas: Canvas, person: Person, *, texture: np.ndarray, rng: np.random.Generator) -> None:
    """The hair behind the neck and ears."""
    if person.hair_style in ("bald", "buzz"):
        return
    pose, v, low = person.pose, person.volume, person.hair_length
    if person.hair_style in ("bob", "long"):
        flare = rng.uniform(-0.1, 0.3)
        side = [(1.02, -0.4), (1.06, 0.2), (1.08 + 0.3 * flare, 0.55 * low), (1.0 + flare, 0.9 * low)]
        side = [*((x + v, y) for x, y in side), (0.7, low + 0.1)]
    else:
        side = [(1.0 + v, -0.4), (0.98 + 0.6 * v, 0.1), (0.86, 0.5), (0.5, 0.7)]
    outline = _ruffle(closed_curve(symmetric([*_cap(v), *side])), person, rng)
    canvas.paint(pose.outline(outline, -0.25), texture * np.float32(0.72), "hair")
    if person.hair_style == "updo":
        at, radius = (rng.uniform(-0.35, 0.35), -1.72 - v), rng.uniform(0.38, 0.6)
        bun = _ruffle(ellipse(at, radius, 0.85 * radius, points=40), person, rng, center=at)
        canvas.paint(pose.outline(bun, -0.35), texture, "hair")


def draw_front_hair(canvas: Canvas, person: Person, *, texture: np.ndarray, rng: np.random.Generator) -> None:
    """The hair on top and over the forehead, sideburns, and hair beside the face."""
    if person.hair_style == "bald":
        return
    pose, unit, v = person.pose, person.pose.unit, person.volume
    line = _hairline(person, rng)
    top = open_curve(symmetric([*_cap(v), (1.02 + 0.8 * v, 0.1)]))
    top = top[top[:, 1] < line[:, 1].max() + 0.02]
    outline = np.concatenate([pose.outline(_ruffle(top, person, rng), -0.15), _inside(pose, line)[::-1]])
    canvas.shade(outline + floats([0, 0.07 * unit]), (0.74, 0.66, 0.64), 0.05 * unit, on=("skin",))
    canvas.paint(outline, texture, "hair", alpha=0.8 if person.hair_style == "buzz" else 1.0)
    for (_, sign), covered in zip(SIDES, person.ears_covered, strict=True):
        if covered:
            _draw_lock(canvas, person, texture=texture, sign=sign, rng=rng)


def _cap(volume: float) -> list[tuple[float, float]]:
    """The hair's outer edge, from the top of the head down the right side."""
    angle = np.linspace(0, 1.35, 5)
    x, y = 1.04 * np.sin(angle) * (1 + volume), -0.45 - 1.1 * np.cos(angle) * (1 + 0.9 * volume)
    return list(zip(x, y, strict=True))


def _hairline(person: Person, rng: np.random.Generator) -> np.ndarray:
    """Face coordinates of the hair's lower edge, from left to right."""
    burn = rng.uniform(-0.05, 0.15) if person.soft else rng.uniform(0.1, 0.35)
    right = [(0.87, -0.35), (0.92, min(burn - 0.12, -0.1)), (0.97, burn - 0.06), (1.01, burn)]
    left = [(-x, y) for x, y in right[::-1]]
    if person.hair_style in ("buzz", "curls", "updo") or person.front == "back":
        high = rng.uniform(0, 0.22) if person.soft or rng.random() < 0.6 else rng.uniform(0.2, 0.45)
        middle = symmetric([(0, -0.9), (0.36, -0.92 - 0.5 * high), (0.72, -0.72 - high)])
    elif person.front == "fringe":
        x = np.linspace(-0.8, 0.8, 13)
        notches = np.where(np.arange(13) % 2, rng.uniform(0, 0.13, 13), 0)
        middle = np.stack([x, rng.uniform(-0.62, -0.46) + rng.uniform(-0.12, 0.12) * x - 0.12 * x * x - notches], 1)
    elif person.front == "side":
        part, sign = rng.uniform(0.2, 0.5), rng.choice([-1, 1])
        middle = [(-0.8, -0.42), (-0.45, -0.62), (-0.05, -0.84), (part, -1.08), (part + 0.2, -0.92), (0.78, -0.6)]
        middle = (floats(middle) * floats([sign, 1]))[::sign]
    else:
        middle = symmetric([(0, -1.12), (0.24, -0.96), (0.6, -0.68), (0.84, -0.25)])
    line = open_curve([*left, *middle, *right], 4)
    if person.curl > 0.5:
        line[16:-16, 1] += 0.05 * np.sin(np.arange(len(line) - 32) * rng.uniform(0.7, 1.1))
    return line


def _inside(pose: Pose, line: np.ndarray) -> np.ndarray:
    """[N, 2] pixels of points on the face; points that a turned head hides are moved to its edge."""
    pixels, height = pose.face(line), line[:, 1]
    left, right = (pose.outline(np.stack([np.full_like(height, x), height], 1), 0.05) for x in (-0.98, 0.98))
    across = right - left
    share = ((pixels - left) * across).sum(1) / (across * across).sum(1)
    return pixels + (np.clip(share, 0, 1) - share)[:, None] * across


def _draw_lock(canvas: Canvas, person: Person, *, texture: np.ndarray, sign: float, rng: np.random.Generator) -> None:
    """The hair that falls over the ear and the shoulder on one side of the face."""
    v, low, near = person.volume, person.hair_length * rng.uniform(0.85, 1.0), rng.uniform(0.8, 0.95, 3)
    inner = [(0.84, -0.55), (near[0], -0.1), (near[1], 0.45), (near[2], 0.75 * low), (rng.uniform(0.8, 1), low + 0.08)]
    outer = [(1.0 + v, low), (1.16 + v, 0.7 * low), (1.1 + v, 0.35 * low), (1.03 + v, -0.6)]
    points = floats([*inner, *outer]) * floats([sign, 1])
    outline = _ruffle(closed_curve(points), person, rng, center=(sign * 0.95, 0.4 * low))
    canvas.paint(person.pose.outline(outline, 0.05), texture, "hair")


def _ruffle(
    outline: np.ndarray, person: Person, rng: np.random.Generator, *, center: ArrayLike = _CENTER
) -> np.ndarray:
    """Adds waves or curls to an outline by moving its points towards or away from its center."""
    ray = outline - floats(center)
    reach = np.sqrt((ray**2).sum(1))
    angle = np.arctan2(ray[:, 1], ray[:, 0])
    phase = rng.random(3) * 6
    fine = np.sin(angle * rng.integers(22, 30) + phase[0]) * (0.01 + 0.045 * person.curl)
    wave = np.sin(angle * rng.integers(7, 12) + phase[1]) * (0.012 + 0.035 * person.curl)
    lean = np.sin(angle * 3 + phase[2]) * 0.03
    return outline + ray * ((fine + wave + lean) / np.maximum(reach, 0.1)).astype(np.float32)[:, None]
