"""Faces drawn by code, with the 19 classes of CelebAMask-HQ."""

import numpy as np

from dmlcsr_jax.datasets.faces import accessories, clothes, features, hair, hats, mouth, occluders, scene, skin
from dmlcsr_jax.datasets.faces.canvas import Canvas
from dmlcsr_jax.datasets.faces.person import sample_person


def draw_face(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a face and the label map that belongs to it.

    The same seed gives the same person at any size.

    Args:
      seed: which face, a whole number from 0.
      size: side of the square picture in pixels; meant for 64 and more.

    Returns:
      The picture, [S, S, 3] uint8 RGB, and the class numbers, [S, S] uint8.
    """
    rng = np.random.default_rng(seed)
    person = sample_person(rng, size)
    canvas = Canvas(size)
    grid, lambert = person.pose.grid(size), person.pose.lambert(size)
    flesh = skin.lit(person.skin, lambert)
    strands = hair.hair_picture(person, grid, lambert, rng)
    colors = (person.cloth, person.accent)
    weave = clothes.pattern_picture(person.pattern, *colors, grid, 0.55 + 0.4 * lambert, rng)

    scene.draw_background(canvas, person, rng)
    hair.draw_back_hair(canvas, person, strands, rng)
    skin.draw_neck(canvas, person, flesh)
    clothes.draw_clothes(canvas, person, weave, rng)
    accessories.draw_necklace(canvas, person, rng)
    skin.draw_ears(canvas, person, flesh)
    skin.draw_head(canvas, person, flesh, rng)
    features.draw_nose(canvas, person, rng)
    mouth.draw_mouth(canvas, person, rng)
    features.draw_eyes(canvas, person, flesh, rng)
    accessories.draw_earrings(canvas, person, rng)
    hair.draw_front_hair(canvas, person, strands, rng)
    accessories.draw_glasses(canvas, person, rng)
    if person.hat:
        kind = "knit" if person.hat == "beanie" else "plain"
        felt = clothes.pattern_picture(kind, person.felt, person.cloth, grid, lambert, rng)
        hats.draw_hat(canvas, person, felt, rng)
    occluders.draw_occluder(canvas, person, flesh, rng)
    return scene.develop(canvas, rng), canvas.label
