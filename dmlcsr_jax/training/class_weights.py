"""The weight of each class in the loss, from `config.class_weights`."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from dmlcsr_jax.errors import UserError


def read_class_weights(
    text: str, class_names: Sequence[str], pixels: Sequence[int], flip_pairs: Iterable[tuple[str, str]] = ()
) -> np.ndarray | None:
    """Reads `config.class_weights`.

    Args:
      text: "none"; "inverse_sqrt" for one over the square root of a class's share of the pixels, relative to the most
        frequent class, and 1 for a class without pixels; or "NAME=WEIGHT,...", with 1 for classes that are not listed.
      class_names: of the data set.
      pixels: number of training pixels per class.
      flip_pairs: pairs of classes that mirroring swaps; both count the pixels of either.

    Returns:
      [C] float32, or None for equal weights.

    Raises:
      UserError: the text is none of these.
    """
    if text == "none":
        return None
    if text == "inverse_sqrt":
        counts = np.array(pixels, np.float64)
        for pair in flip_pairs:
            ids = [class_names.index(name) for name in pair]
            counts[ids] = counts[ids].mean()
        counts[counts == 0] = counts.max()
        return np.sqrt(counts.max() / counts).astype(np.float32)
    weights = dict.fromkeys(class_names, 1.0)
    for entry in text.split(","):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name not in weights:
            raise UserError(
                f"config.class_weights={text}: {name!r} is not a class; write none, inverse_sqrt, or NAME=WEIGHT,... "
                f"with {', '.join(class_names)}"
            )
        weights[name] = _read_weight(text, name, value)
    return np.array(list(weights.values()), np.float32)


def _read_weight(text: str, name: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise UserError(f"config.class_weights={text}: {name} needs a number of at least 0, such as {name}=2")
    return weight
