"""The classes of a data set: names, mirrored pairs, colors, and score groups."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from dmlcsr_jax.types import IGNORE_ID

__all__ = ["IGNORE_ID", "FaceSpec", "default_palette"]

# Twenty colors that are easy to tell apart on a face; background is black.
_COLORS = (
    (0, 0, 0),
    (236, 188, 160),
    (224, 108, 92),
    (86, 180, 233),
    (44, 120, 220),
    (20, 190, 190),
    (150, 96, 48),
    (200, 140, 40),
    (176, 122, 200),
    (122, 74, 170),
    (140, 20, 40),
    (255, 92, 138),
    (214, 40, 90),
    (70, 50, 110),
    (240, 228, 66),
    (255, 190, 0),
    (0, 255, 160),
    (150, 200, 120),
    (40, 130, 80),
    (170, 170, 170),
)

Color = tuple[int, int, int]


def default_palette(num_classes: int) -> tuple[Color, ...]:
    """RGB colors (0–255) for class numbers 0 to num_classes - 1.

    Background is black. Beyond 20 classes the colors repeat, darker each time.
    """
    colors: list[Color] = list(_COLORS)
    while len(colors) < num_classes:
        colors += [(int(0.7 * red), int(0.7 * green), int(0.7 * blue)) for red, green, blue in colors[-19:]]
    return tuple(colors[:num_classes])


@dataclasses.dataclass(frozen=True)
class FaceSpec:
    """The classes of a data set.

    Sequences may be given as lists, so `FaceSpec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec`.

    Attributes:
      name: the data set's name.
      class_names: one name per class number, background first.
      flip_pairs: pairs of class names that are swapped when an image is mirrored.
      palette: one RGB color per class (0–255); generated if omitted.
      score_groups: name of a merged score -> the classes that are merged into one for it. Members may also be other
        groups, as in Helen's "overall".
      headline: the score that decides which of two models is better: "mean_f1" or the name of a merged score.
      ignore_id: the label value that is never counted.
      terms: the data's license terms, for model cards.
    """

    name: str
    class_names: tuple[str, ...]
    _: dataclasses.KW_ONLY
    flip_pairs: tuple[tuple[str, str], ...] = ()
    palette: tuple[Color, ...] = ()
    score_groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    headline: str = "mean_f1"
    ignore_id: int = IGNORE_ID
    terms: str = ""

    def __post_init__(self):
        normalized = {
            "class_names": tuple(self.class_names),
            "flip_pairs": tuple((left, right) for left, right in self.flip_pairs),
            "palette": tuple((r, g, b) for r, g, b in self.palette or default_palette(len(self.class_names))),
            "score_groups": {group: tuple(members) for group, members in self.score_groups.items()},
        }
        for field, value in normalized.items():
            object.__setattr__(self, field, value)

    @property
    def num_classes(self) -> int:
        """The number of classes, including background."""
        return len(self.class_names)

    def class_id(self, name: str) -> int:
        """The number of a class; ValueError lists the classes if there is none of that name."""
        if name not in self.class_names:
            raise ValueError(f"no class {name!r}; choose from {', '.join(self.class_names)}")
        return self.class_names.index(name)

    def flip_table(self) -> np.ndarray:
        """[256] uint8: label value -> label value in the mirrored image."""
        table = np.arange(256, dtype=np.uint8)
        for left, right in self.flip_pairs:
            a, b = self.class_id(left), self.class_id(right)
            table[a], table[b] = b, a
        return table
