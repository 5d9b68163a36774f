"""What `benchmarks.robustness` does to labeled images.

Every change takes one pair (four for the mosaic) and returns a new one. Its image and its labels may differ in size.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.datasets.images import decode_image, encode_jpeg
from dmlcsr_jax.inference.finding import face_classes
from dmlcsr_jax.pipeline.geometry import warp_image, warp_labels
from dmlcsr_jax.types import IGNORE_ID

_GAMMA = 2.5
_QUALITY = 30  # of JPEG
_BLUR = 0.006  # standard deviation, as a share of the shorter side
_COVERED = 0.15  # share of the face
_FRAME = 3  # sides of the frame / sides of the image


class Pair(NamedTuple):
    """An image and what is known about it.

    Attributes:
      image: [H, W, 3] uint8 RGB.
      labels: [h, w] uint8 class numbers; 255 is not scored.
      covered: [h, w] uint8, the class numbers behind something drawn, 255 elsewhere; None if nothing was drawn.
    """

    image: np.ndarray
    labels: np.ndarray
    covered: np.ndarray | None = None


class Condition(NamedTuple):
    """A change of images.

    Attributes:
      change: pairs -> the pair that is scored.
      images: the most pairs that `change` takes.
      search: whether faces must be searched for.
    """

    change: Callable[..., Pair]
    images: int = 1
    search: bool = False


def conditions(spec: FaceSpec) -> dict[str, Condition]:
    """Name -> condition, the unchanged images first. What is random is the same in every run."""
    return {
        "clean": Condition(lambda pair: pair),
        "turned by 30°": Condition(partial(turn, degrees=30)),
        "turned by -30°": Condition(partial(turn, degrees=-30)),
        "gray": Condition(to_gray),
        "half size": Condition(halve),
        f"JPEG quality {_QUALITY}": Condition(compress),
        "dark": Condition(darken),
        "covered": Condition(partial(cover, spec=spec, rng=np.random.default_rng(0))),
        "blurred": Condition(blur),
        "mirrored": Condition(partial(mirror, spec=spec)),
        "a third of the frame": Condition(partial(put_into_frame, rng=np.random.default_rng(0)), search=True),
        "2 × 2 faces": Condition(mosaic, images=4, search=True),
    }


def turn(pair: Pair, degrees: float) -> Pair:
    """Turns image and labels counterclockwise around the center; the corners are black and ignored."""
    height, width = pair.labels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return Pair(warp_image(pair.image, matrix, (width, height)), warp_labels(pair.labels, matrix, (width, height)))


def to_gray(pair: Pair) -> Pair:
    """The luma in all channels."""
    gray = cv2.cvtColor(pair.image, cv2.COLOR_RGB2GRAY)
    return pair._replace(image=cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))


def halve(pair: Pair) -> Pair:
    """The image at half its size; the labels keep theirs."""
    return pair._replace(image=cv2.resize(pair.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def compress(pair: Pair) -> Pair:
    """JPEG artifacts."""
    return pair._replace(image=decode_image(encode_jpeg(pair.image, _QUALITY)))


def darken(pair: Pair) -> Pair:
    """255 (image / 255)^2.5."""
    table = np.rint(255 * np.linspace(0, 1, 256) ** _GAMMA).astype(np.uint8)
    return pair._replace(image=cv2.LUT(pair.image, table))


def blur(pair: Pair) -> Pair:
    """A Gaussian with a standard deviation of 0.6 % of the shorter side."""
    return pair._replace(image=cv2.GaussianBlur(pair.image, (0, 0), _BLUR * min(pair.image.shape[:2])))


def mirror(pair: Pair, *, spec: FaceSpec) -> Pair:
    """Left and right exchanged, in the class numbers too."""
    image, labels = (np.ascontiguousarray(array[:, ::-1]) for array in (pair.image, pair.labels))
    return Pair(image, spec.flip_table()[labels])


def cover(pair: Pair, *, spec: FaceSpec, rng: np.random.Generator) -> Pair:
    """Draws an ellipse of one color around a random point of the face, such that it covers 15 % of it.

    If the classes do not say what a face is, it covers 15 % of all parts; if there is no part, nothing is drawn.
    """
    classes = face_classes(spec)
    face = (pair.labels > 0) & (pair.labels != IGNORE_ID) if classes is None else classes.mask(pair.labels) > 0
    aspect, angle, color = rng.uniform(1, 4), rng.uniform(0, np.pi), rng.integers(0, 256, 3)
    place = rng.random()
    points = np.argwhere(face)
    if not len(points):
        return pair
    rows, columns = np.indices(face.shape) - points[int(place * len(points))][:, None, None]
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    distance = np.hypot(along, aspect * across)
    ellipse = distance <= np.quantile(distance[face], _COVERED)
    return Pair(
        np.where(ellipse[..., None], color.astype(np.uint8), pair.image),
        np.where(ellipse, np.uint8(IGNORE_ID), pair.labels),
        np.where(ellipse, pair.labels, np.uint8(IGNORE_ID)),
    )


def put_into_frame(pair: Pair, *, rng: np.random.Generator) -> Pair:
    """Puts the image into a frame that is three times as high and wide, left of its center.

    The frame shows random colors that run into each other; networks easily take a flat color for skin.
    """
    height, width = pair.labels.shape
    colors = rng.integers(0, 256, (6, 6, 3), np.uint8)
    image = cv2.resize(colors, (_FRAME * width, _FRAME * height), interpolation=cv2.INTER_CUBIC)
    labels = np.zeros(image.shape[:2], np.uint8)
    inside = slice(height, 2 * height), slice(width // 2, width // 2 + width)
    image[inside], labels[inside] = pair.image, pair.labels
    return Pair(image, labels)


def mosaic(*pairs: Pair) -> Pair:
    """Up to four images in two rows; what is left over is black and ignored."""
    height, width = (max(pair.labels.shape[axis] for pair in pairs) for axis in range(2))
    image = np.zeros((2 * height, 2 * width, 3), np.uint8)
    labels = np.full((2 * height, 2 * width), IGNORE_ID, np.uint8)
    for number, pair in enumerate(pairs):
        top, left = height * (number // 2), width * (number % 2)
        rows, columns = pair.labels.shape
        image[top : top + rows, left : left + columns] = pair.image
        labels[top : top + rows, left : left + columns] = pair.labels
    return Pair(image, labels)
