"""From the classes of one data set to those of another, by name.

CelebAMask-HQ's `l_eye` is the subject's left, which is the right of the picture; LaPa's and Helen's `left_eye` is the
left of the picture. Its `l_lip` is the lower lip. So `l_eye` becomes `right_eye`, and `l_lip` becomes `lower_lip`.
"""

import numpy as np

from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.errors import UserError

# CelebAMask-HQ's name -> LaPa's and Helen's; background, skin, nose and hair have one name in all of them.
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
    """What each label value of `source` is called in `target`: `table[labels]` are labels of `target`.

    A class keeps its name where `target` has it, and else takes the name that the other convention gives the same part.

    Args:
      source: the classes of the labels; any data set, a folder of one's own included.
      target: the classes wanted.
      others: the value of classes that `target` has no counterpart of (LaPa has no hat, neck or glasses): 0,
        background, or 255, ignored, where predictions of one set are to be scored against labels of the other.

    Returns:
      [256] uint8; 255 stays 255.

    Raises:
      UserError: no class but background has a counterpart.
    """
    table = np.full(256, others, np.uint8)
    table[IGNORE_ID] = IGNORE_ID
    matched = 0
    for number, name in enumerate(source.class_names):
        known_as = next((n for n in (name, _OTHER_NAMES.get(name)) if n in target.class_names), None)
        if number == 0 or known_as:
            table[number] = 0 if number == 0 else target.class_id(known_as)
            matched += number > 0
    if not matched:
        raise UserError(
            f"no class of {source.name} has a counterpart in {target.name}; "
            f"they have {', '.join(source.class_names)} and {', '.join(target.class_names)}"
        )
    return table
