"""Checks of label maps whose numbers may mean something else than they say."""

from collections.abc import Mapping

import numpy as np

from dmlcsr_jax.datasets.label_colors import color_text
from dmlcsr_jax.datasets.spec import Color
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.types import IGNORE_ID

# Class number, as JSON has it -> color in a palette -> a file that has it; at most two colors.
Palettes = dict[str, dict[str, str]]

_MIN_BETWEEN = 24  # fewer happen by chance
_MIN_SHARE = 0.15  # of the borders; real maps of 64² to 512² pixels have at most 0.07, interpolated ones at least 0.2
_MIN_UNIFORM = 0.6
_MIN_RAMPS = 0.3
_THIN = 8  # pixels; bilinear enlargement by a factor f makes steps of at most about f pixels


def is_interpolated(labels: np.ndarray) -> bool:
    """Whether a label map was probably resized with smoothing, which writes other class numbers along borders.

    Between classes 1 and 13, averaging leaves a line of 6 or 7. So numbers one pixel wide, between a smaller and a
    larger one, appear along a good part of the borders between numbers that differ by 2 or more; in a real map, thin
    as its parts may be, hardly anywhere. After enlarging, borders become stairs of several thin steps.

    Args:
      labels: [H, W] uint8 class numbers; 255 is not looked at.
    """
    jumps = between = thin = ramps = 0
    for lines in (labels, labels.T):
        values, lengths = _runs(lines)
        steps = np.diff(values)
        valid = (values[:-1] >= 0) & (values[1:] >= 0)
        jumps += np.count_nonzero(valid & (np.abs(steps) >= 2))
        monotone = (steps[:-1] * steps[1:] > 0) & valid[:-1] & valid[1:]
        between += np.count_nonzero(monotone & (lengths[1:-1] == 1))
        is_step = monotone & (lengths[1:-1] <= _THIN)
        thin += np.count_nonzero(is_step)
        ramps += np.count_nonzero(is_step[:-1] & is_step[1:])
    lined = between >= max(_MIN_BETWEEN, _MIN_SHARE * (jumps + between))
    uniform = between >= max(2 * _MIN_BETWEEN, _MIN_UNIFORM * thin)  # a real thin part is not one pixel wide all along
    stairs = ramps >= max(_MIN_BETWEEN, _MIN_RAMPS * (jumps + thin))
    return bool((lined and (jumps >= between / 4 or uniform)) or stairs)


def _runs(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (int16) and lengths of the runs of equal pixels along the rows; -1 for 255 and between rows."""
    ended = np.pad(lines.astype(np.int16), ((0, 0), (0, 1)), constant_values=-1)
    ended[ended == IGNORE_ID] = -1
    flat = ended.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-2))
    return flat[starts], np.diff(starts, append=len(flat))


def palettes_of(palette: Mapping[int, Color], file: str) -> Palettes:
    """The colors of one label map, for `merge_palettes`. Those of ignored pixels may differ."""
    return {str(number): {color_text(color): file} for number, color in palette.items() if number != IGNORE_ID}


def merge_palettes(total: Palettes, other: Palettes) -> None:
    """Adds colors to those of a whole set."""
    for number, files in other.items():
        known = total.setdefault(number, {})
        for color, file in files.items():
            if color in known or len(known) < 2:
                known.setdefault(color, file)


def require_one_palette(palettes: Palettes) -> None:
    """UserError naming two files if a class number has different colors in their palettes."""
    for number, files in palettes.items():
        if len(files) > 1:
            (color, file), (other_color, other_file) = list(files.items())[:2]
            raise UserError(
                f"{file} and {other_file} disagree: index {number} is {color} in the palette of the first and "
                f"{other_color} in that of the second, so it means two classes; write label_colors.txt, a class name "
                f"and a color per line, and label maps are read by their colors"
            )
