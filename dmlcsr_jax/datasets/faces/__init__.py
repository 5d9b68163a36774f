"""Faces drawn by code, with the 19 classes of CelebAMask-HQ."""

import numpy as np

from dmlcsr_jax.datasets.faces import accessories, clothes, features, hair, hats, mouth, occluders, scene, skin
from dmlcsr_jax.datasets.faces.canvas import Canvas
from dmlcsr_jax.datasets.faces.person import sample_person


def draw_face(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a face and its label map.

    The same seed gives the same person at any size.

    Args:
      seed: a nonnegative integer.
      size: side of the square image in pixels; 64 or more for good results.

    Returns:
      The image, [S, S, 3] uint8 RGB, and the class numbers, [S, S] uint8.
    """
    rng = np.random.default_rng(seed)
    person = sample_person(rng, size)
    canvas = Canvas(size)
    grid, lambert = person.pose.grid(size), person.pose.lambert(size)
    skin_image = skin.lit(person.skin, lambert)
    hair_image = hair.draw_strands(person, grid=grid, lambert=lambert, rng=rng)
    colors = (person.cloth, person.accent)
    cloth = clothes.draw_pattern(person.pattern, colors, grid=grid, lambert=0.55 + 0.4 * lambert, rng=rng)

    scene.draw_background(canvas, person, rng)
    hair.draw_back_hair(canvas, person, texture=hair_image, rng=rng)
    skin.draw_neck(canvas, person, skin_image)
    clothes.draw_clothes(canvas, person, cloth=cloth, rng=rng)
    accessories.draw_necklace(canvas, person, rng)
    skin.draw_ears(canvas, person, skin_image)
    skin.draw_head(canvas, person, skin=skin_image, rng=rng)
    features.draw_nose(canvas, person, rng)
    mouth.draw_mouth(canvas, person, rng)
    features.draw_eyes(canvas, person, skin=skin_image, rng=rng)
    accessories.draw_earrings(canvas, person, rng)
    hair.draw_front_hair(canvas, person, texture=hair_image, rng=rng)
    accessories.draw_glasses(canvas, person, rng)
    if person.hat:
        kind = "knit" if person.hat == "beanie" else "plain"
        felt = clothes.draw_pattern(kind, (person.felt, person.cloth), grid=grid, lambert=lambert, rng=rng)
        hats.draw_hat(canvas, person, cloth=felt, rng=rng)
    occluders.draw_occluder(canvas, person, skin=skin_image, rng=rng)
    return scene.develop(canvas, rng), canvas.label
