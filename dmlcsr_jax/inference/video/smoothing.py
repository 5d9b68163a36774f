"""Labels smoothed over time by votes of neighboring frames."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dmlcsr_jax.drawing.label_maps import count_pixels
from dmlcsr_jax.inference.face import ParsedFace


def smoothed(faces: Iterable[ParsedFace], window: int) -> Iterator[ParsedFace]:
    """Replaces the labels of each frame by the majority vote of the frames around it, so that edges flicker less.

    Args:
      faces: the frames of one video, in order, of one size.
      window: number of frames that vote on each pixel, odd: (window - 1) / 2 before and after, fewer at the ends. 1
        changes nothing.
    """
    half, faces = window // 2, iter(faces)
    around = collections.deque(itertools.islice(faces, half + 1))
    own = 0
    while own < len(around):
        labels = majority([face.labels for face in around], own)
        yield dataclasses.replace(around[own], labels=labels)
        around.extend(itertools.islice(faces, 1))
        own += 1
        if own > half:
            around.popleft()
            own -= 1


def majority(maps: Sequence[np.ndarray], own: int) -> np.ndarray:
    """[H, W] uint8: the most frequent label of each pixel; `maps[own]` wins a tie in which it takes part."""
    best = maps[own].copy()
    votes = _count_equal(maps, best)
    for number in map(int, np.flatnonzero(sum(map(count_pixels, maps)))):
        count = _count_equal(maps, number)
        better = count > votes
        best[better], votes[better] = number, count[better]
    return best


def _count_equal(maps: Sequence[np.ndarray], labels: np.ndarray | int) -> np.ndarray:
    """[H, W] uint8: how many of the maps have these labels."""
    counts = np.zeros(maps[0].shape, np.uint8)
    for one in maps:
        counts += one == labels
    return counts
