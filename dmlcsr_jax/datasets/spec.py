"""What a data set's classes are: names, left and right, colors, and how they are scored."""

import dataclasses
from collections.abc import Mapping

import numpy as np

IGNORE_ID = 255

# Twenty colors that stay apart on a face; background is black. Further classes go round again, darker.
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


def default_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """RGB colors, 0..255, for class numbers 0..num_classes - 1; background is black."""
    colors = list(_COLORS)
    while len(colors) < num_classes:
        colors += [tuple(int(0.7 * channel) for channel in color) for color in colors[-19:]]
    return tuple(colors[:num_classes])


@dataclasses.dataclass(frozen=True)
class FaceSpec:
    """The classes of a data set.

    Attributes:
      name: the data set's name.
      class_names: one a class number, background first.
      flip_pairs: pairs of names that change places when a picture is mirrored.
      palette: one RGB color (0..255) a class; made up where not given.
      score_groups: name of a merged score -> the names it pools into one (Helen's "overall" pools
        groups, which may therefore be named as members too).
      headline: the score that decides which of two networks is better: "mean_f1" or the name of a merged score.
      ignore_id: the label value that is never counted.
      terms: the data's license terms, for model cards.
    """

    name: str
    class_names: tuple[str, ...]
    flip_pairs: tuple[tuple[str, str], ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    score_groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    headline: str = "mean_f1"
    ignore_id: int = IGNORE_ID
    terms: str = ""

    def __post_init__(self):
        if not self.palette:
            object.__setattr__(self, "palette", default_palette(self.num_classes))

    @property
    def num_classes(self) -> int:
        """C, background included."""
        return len(self.class_names)

    def class_id(self, name: str) -> int:
        """The number of a class; ValueError names the classes there are."""
        if name not in self.class_names:
            raise ValueError(f"no class {name!r} in {self.name}; it has {', '.join(self.class_names)}")
        return self.class_names.index(name)

    def flip_table(self) -> np.ndarray:
        """[256] uint8: the class that each label value becomes in the mirrored picture."""
        table = np.arange(256, dtype=np.uint8)
        for left, right in self.flip_pairs:
            a, b = self.class_id(left), self.class_id(right)
            table[a], table[b] = b, a
        return table
