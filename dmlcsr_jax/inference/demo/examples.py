"""Images to try the demo with: drawn faces, and a photo if scikit-image is installed."""

import numpy as np

from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.drawing.images import jpeg_url, resize_longer_side

_SIDE = 384  # pixels of a drawn face
_THUMBNAIL = 96  # pixels
_SEEDS = {"Drawn face": (2,), "Two drawn faces": (7, 20)}


def draw_examples() -> dict[str, np.ndarray]:
    """Name -> [H, W, 3] uint8 RGB. The astronaut, a photo in the public domain, needs scikit-image."""
    examples = {}
    try:
        from skimage import data  # pyright: ignore[reportMissingImports]

        examples["Astronaut"] = data.astronaut()
    except ImportError:
        pass
    for name, seeds in _SEEDS.items():
        examples[name] = np.concatenate([draw_face(seed, _SIDE)[0] for seed in seeds], axis=1)
    return examples


def thumbnails(examples: dict[str, np.ndarray]) -> list[dict[str, str]]:
    """`name` and `url` of each example, for the page."""
    return [{"name": name, "url": jpeg_url(resize_longer_side(im, _THUMBNAIL))} for name, im in examples.items()]
