"""Labels of frames are smoothed by votes."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.inference import ParsedFace
from dmlcsr_jax.inference.video.smoothing import majority, smoothed

SPEC = get_spec("lapa")


def face(labels):
    return ParsedFace(np.zeros((*labels.shape, 3), np.uint8), labels, SPEC)


def by_hand(stack, window):
    half, result = window // 2, []
    for i, own in enumerate(stack):
        around = stack[max(0, i - half) : i + half + 1]
        voted = own.copy()
        for place in np.ndindex(own.shape):
            counts = np.bincount([labels[place] for labels in around], minlength=11)
            voted[place] = own[place] if counts[own[place]] == counts.max() else counts.argmax()
        result.append(voted)
    return result


@pytest.mark.parametrize(("count", "window"), [(9, 5), (9, 3), (2, 5), (1, 3), (4, 1), (6, 7)])
def test_frames_vote(count, window):
    stack = np.random.default_rng(count).integers(0, 3, (count, 5, 6)).astype(np.uint8)
    found = [f.labels for f in smoothed(map(face, stack), window)]
    np.testing.assert_array_equal(found, by_hand(stack, window))


def test_still_labels_are_kept_and_flicker_is_not():
    still = np.zeros((4, 4), np.uint8)
    still[1:3, 1:3] = 7
    flicker = still.copy()
    flicker[0, 0] = 3
    np.testing.assert_array_equal(majority([still, flicker, still], 1), still)


def test_smoothing_holds_only_the_frames_that_vote():
    taken = []

    def source():
        for i in range(50):
            taken.append(i)
            yield face(np.zeros((2, 2), np.uint8))

    for i, _ in enumerate(smoothed(source(), 5)):
        assert len(taken) <= i + 3
