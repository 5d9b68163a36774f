"""Converts labels from the classes of one data set to those of another, by name.

In CelebAMask-HQ, `l_eye` is the subject's left eye, which is on the right of the image, and `l_lip` is the lower lip.
In LaPa and Helen, `left_eye` is on the left of the image. So `l_eye` becomes `right_eye`, and `l_lip` becomes
`lower_lip`.
"""

import numpy as np

from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.errors import UserError

# CelebAMask-HQ's name -> LaPa's and Helen's. Background, skin, nose and hair have the same name in all of them.
_OTHER_NAMES = {
    "l_brow": "right_eyebrow",
    "r_brow": "left_eyebrow",
    "l_eye": "right_eye",
    "r_eye": "left_eye",
    "u_lip": "upper_lip",
    "mouth": "inner_mouth",
    "l_lip": "lower_lip",
}
_OTHER_NAMES |= {value: key for key, value in _OTHER_NAMES.items()}


def remap_table(source: FaceSpec, target: FaceSpec, others: int = 0) -> np.ndarray:
    """A lookup table from the label values of `source` to those of `target`: `table[labels]`.

    A class keeps its name if `target` has it; otherwise it gets the name that the other naming scheme uses for the same
    part.

    Args:
      source: the classes of the labels, of any data set.
      target: the classes to convert to.
      others: the value for classes that `target` lacks (LaPa has no hat, neck or glasses): 0 for background, or 255 to
        ignore them when predictions with one set of classes are scored against labels of the other.

    Returns:
      [256] uint8; 255 stays 255.

    Raises:
      UserError: no class except background has a counterpart.
    """
    table = np.full(256, others, np.uint8)
    table[IGNORE_ID] = IGNORE_ID
    matched = 0
    for number, name in enumerate(source.class_names):
        counterpart = next((n for n in (name, _OTHER_NAMES.get(name)) if n in target.class_names), None)
        if number == 0:
            table[number] = 0
        elif counterpart:
            table[number] = target.class_id(counterpart)
            matched += 1
    if not matched:
        raise UserError(
            f"no class of {source.name} has a counterpart in {target.name}; "
            f"they have {', '.join(source.class_names)} and {', '.join(target.class_names)}"
        )
    return table
