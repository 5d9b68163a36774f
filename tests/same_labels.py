import numpy as np


def assert_same_labels(labels, logits, tolerance=1e-3):
    """The labels are the argmax of the logits, wherever rounding cannot decide.

    Pixels count if the largest logit leads by more than `tolerance`, relative to the largest absolute one.
    """
    logits = np.asarray(logits)
    second, first = np.sort(logits, axis=-1)[..., -2:].transpose(-1, *range(logits.ndim - 1))
    sure = first - second > tolerance * np.abs(logits).max()
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(np.asarray(labels)[sure], logits.argmax(-1)[sure])
