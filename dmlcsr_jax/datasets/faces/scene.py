"""The background and the camera."""

from collections.abc import Sequence

import cv2
import numpy as np

from dmlcsr_jax.datasets.faces.canvas import Canvas, closed_curve, ellipse, floats, ribbon
from dmlcsr_jax.datasets.faces.person import Color, Person, jitter, mix, pick

WALLS = (
    (214, 206, 194), (168, 186, 196), (120, 142, 120), (96, 104, 122), (190, 150, 120), (70, 66, 72), (202, 176, 180),
    (236, 234, 228), (66, 92, 112), (150, 108, 84), (34, 34, 40), (180, 192, 150), (232, 206, 150),
)  # fmt: skip


def draw_background(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """A wall, room, curtain or garden, often with round objects, and often in the colors of the person."""
    size, image = canvas.size, canvas.image
    colors = [jitter(rng, pick(rng, WALLS), 14) for _ in range(4)]
    own = [person.hair, person.skin, person.skin * np.float32(0.8), person.cloth, person.hair * np.float32(1.3)]
    if rng.random() < 0.4:
        colors[0] = mix(colors[0], pick(rng, own), share=0.8)
    patches = [mix(colors[0], colors[1], share=rng.uniform(0, 0.5)) * rng.uniform(0.75, 1.15) for _ in range(6)]
    for plane, values in zip(image, floats(patches).T, strict=True):
        cv2.resize(values.reshape(3, 2), (size, size), dst=plane, interpolation=cv2.INTER_CUBIC)
    kind = pick(rng, ("plain", "curtain", "circles", "leaves", "room"), (20, 12, 42, 12, 14))
    if kind == "curtain":
        _draw_curtain(canvas, rng)
    elif kind == "circles":
        _draw_circles(canvas, [*colors[1:], *own], rng)
    elif kind == "leaves":
        _draw_leaves(canvas, colors[0], rng)
    elif kind == "room":
        _draw_boxes(canvas, [*colors[1:], *own], rng)
    if rng.random() < 0.5:
        cells = int(rng.integers(6, 60))
        noise = rng.normal(0, rng.uniform(0.01, 0.07), (cells, cells)).astype(np.float32)
        image *= 1 + cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.7:
        side = int(size * rng.uniform(0.004, 0.04)) | 1
        for plane in image:
            plane[:] = cv2.blur(cv2.blur(plane, (side, side)), (side, side))
    np.clip(image, 4, 250, out=image)


def _draw_curtain(canvas: Canvas, rng: np.random.Generator) -> None:
    turn, freq = rng.uniform(0, np.pi), rng.uniform(12, 50) / canvas.size
    at = np.arange(canvas.size, dtype=np.float32) * np.float32(freq)
    wave = np.sin(at[None] * np.float32(np.cos(turn)) + at[:, None] * np.float32(np.sin(turn)))
    canvas.image *= 1 + np.float32(rng.uniform(0.06, 0.25)) * wave


def _draw_circles(canvas: Canvas, colors: Sequence[Color], rng: np.random.Generator) -> None:
    """Out-of-focus lights, balloons or heads."""
    strong = rng.uniform(0.15, 0.6)
    for _ in range(int(rng.integers(5, 14))):
        at, radius = rng.uniform(0, canvas.size, 2), canvas.size * rng.uniform(0.03, 0.2)
        outline = ellipse(at, radius, radius * rng.uniform(0.7, 1.4))
        canvas.paint(outline, jitter(rng, pick(rng, colors), 10), alpha=strong + rng.uniform(0, 0.3))


def _draw_leaves(canvas: Canvas, ground: Color, rng: np.random.Generator) -> None:
    for _ in range(34):
        at, turn, long = rng.uniform(0, canvas.size, 2), rng.uniform(0, 6.3), canvas.size * rng.uniform(0.06, 0.16)
        tip = floats([np.cos(turn), np.sin(turn)]) * np.float32(long)
        leaf = ribbon(np.stack([at, at + 0.45 * tip, at + tip]), floats([1, 0.4 * long, 1]))
        canvas.paint(closed_curve(leaf, 4), jitter(rng, mix((70, 104, 60), ground, share=0.4), 20), alpha=0.8)


def _draw_boxes(canvas: Canvas, colors: Sequence[Color], rng: np.random.Generator) -> None:
    """Posters, windows and shelves."""
    for _ in range(int(rng.integers(4, 9))):
        left, top = rng.uniform(-0.1, 0.9, 2) * canvas.size
        right, low = np.array([left, top]) + rng.uniform(0.08, 0.5, 2) * canvas.size
        box = floats([(left, top), (right, top), (right, low), (left, low)])
        canvas.paint(box, jitter(rng, pick(rng, colors), 12), alpha=rng.uniform(0.5, 1))


def develop(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Simulates a camera: uneven light, color cast, vignette, contrast, blur, noise and JPEG artifacts.

    Returns:
      [S, S, 3] uint8 RGB.
    """
    size, image = canvas.size, canvas.image
    at = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 0.13, 2).astype(np.float32)
    vignette = np.float32(max(0, rng.normal(0.04, 0.09)))
    light = 1 + (slope[0] * at - vignette * at * at)[None] + (slope[1] * at - vignette * at * at)[:, None]
    contrast = rng.uniform(0.8, 1.12)
    gain = contrast * rng.uniform(0.84, 1.2) * (1 + rng.normal(0, 0.03, (3, 1, 1)))
    image *= np.maximum(light, np.float32(0.35)) * gain.astype(np.float32)
    image += np.float32(118 * (1 - contrast) + 0.5)
    if rng.random() < 0.5:
        sigma = size / 256 * rng.uniform(0.35, 1.1)
        for plane in image:
            plane[:] = cv2.GaussianBlur(plane, (0, 0), sigma)
    if rng.random() < 0.55:
        grain = rng.standard_normal((size, size), np.float32) * np.float32(rng.uniform(1, 6))
        image += grain * rng.uniform(0.7, 1.3, (3, 1, 1)).astype(np.float32)
    photo = cv2.merge([np.clip(plane, 0, 255).astype(np.uint8) for plane in image])
    if rng.random() < 0.35:
        jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1]
        photo = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    return photo
