"""Lists of colors, `label_colors.txt` or CVAT's `labelmap.txt`, and label maps that are painted with them."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np

from dmlcsr_jax.datasets.spec import Color
from dmlcsr_jax.errors import UserError

_NUMBERS = r"(?:rgb)?\s*[(\[]?\s*(\d+)\s*[,;\s]\s*(\d+)\s*[,;\s]\s*(\d+)\s*[)\]]?"
_COLOR = rf"(?:{_NUMBERS}|#([0-9a-fA-F]{{6}}))"
_SEPARATOR = r"\s*[\s,;:=]\s*"
_NAME_FIRST = re.compile(rf"(?P<name>\S.*?){_SEPARATOR}{_COLOR}\s*(?::[^:]*:[^:]*)?")  # CVAT adds :parts:actions
_COLOR_FIRST = re.compile(rf"{_COLOR}{_SEPARATOR}(?P<name>\S.*)")
_FOUR_NUMBERS = re.compile(r"\d+(\s*,\s*\d+){3}\s*[)\]]?")
_COMMENT = re.compile(r"#(?![0-9a-fA-F]{6}(\s|$))")


class ColorLine(NamedTuple):
    """A class name and its RGB color (0–255)."""

    name: str
    color: Color


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorTable:
    """The colors of color masks.

    Attributes:
      classes: RGB color (0–255) -> class number.
      file: the name of the list, for errors.
      in_order: whether the class numbers follow the lines of the list.
    """

    classes: Mapping[Color, int]
    file: str
    in_order: bool = True


def parse_colors(lines: Sequence[str], path: str | PathLike[str]) -> list[ColorLine]:
    """The names and colors of a list, in its order; empty lines and comments (`# …`) are left out.

    A line is a name and a color in either order: `left eye 0 128 0`, `hair: 0,0,128`, `hat #ff8000`, or
    `128 64 0 Animal`. A name may have spaces. CVAT's `name:R,G,B:parts:actions` is one of these forms.

    Raises:
      UserError: names a line that has no color, or repeats a name or a color.
    """
    found: dict[str, Color] = {}
    for number, line in enumerate(lines, 1):
        if not line or _COMMENT.match(line):
            continue
        name, color = _parse_line(line, f"{path}: line {number}")
        if name in found:
            raise UserError(f"{path}: line {number} repeats {name!r}; give each class one line")
        if color in found.values():
            raise UserError(f"{path}: line {number} repeats the color {color_text(color)}; give each class its own")
        found[name] = color
    return [ColorLine(name, color) for name, color in found.items()]


def _parse_line(line: str, place: str) -> ColorLine:
    match = _NAME_FIRST.fullmatch(line) or _COLOR_FIRST.fullmatch(line)
    if match is None or _FOUR_NUMBERS.search(line):
        raise UserError(f"{place} is {line!r}; write a name and a color, such as 'left eye 0 128 0' or 'hat #ff8000'")
    *numbers, digits = (match[index] for index in _color_groups(match))
    red, green, blue = bytes.fromhex(digits) if digits else (int(value) for value in numbers)
    if max(red, green, blue) > 255:
        raise UserError(f"{place} is {line!r}; red, green and blue are 0 to 255")
    return ColorLine(match["name"].rstrip(" \t,;:="), (red, green, blue))


def _color_groups(match: re.Match[str]) -> range:
    """The groups of a line's color: red, green and blue, and the hexadecimal digits."""
    first = 2 if match.re is _NAME_FIRST else 1
    return range(first, first + 4)


def color_text(color: Sequence[int]) -> str:
    """A color for messages: "#rrggbb"."""
    return "#" + bytes(color).hex()


def read_colors(pixels: np.ndarray, table: ColorTable, path: str | PathLike[str]) -> np.ndarray:
    """Class numbers of the pixels of a color mask.

    Args:
      pixels: [H, W, 3] uint8 RGB.
      table: the class number of each color.
      path: the file, for errors.

    Returns:
      [H, W] uint8.

    Raises:
      UserError: names the first pixel whose color is not in the table, its color and its place.
    """
    colors = sorted(table.classes)
    codes = _codes(np.array(colors, np.uint8))
    found = _codes(pixels)
    index = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
    unknown = codes[index] != found
    if unknown.any():
        raise UserError(f"{path} {_unknown_color(pixels, unknown, table.file)}")
    return np.array([table.classes[color] for color in colors], np.uint8)[index]


def _codes(pixels: np.ndarray) -> np.ndarray:
    """[...] int32, one number per RGB color, in the order of the colors."""
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _unknown_color(pixels: np.ndarray, unknown: np.ndarray, file: str) -> str:
    y, x = np.unravel_index(np.argmax(unknown), unknown.shape)
    red, green, blue = pixels[y, x].tolist()
    others = len(np.unique(_codes(pixels[unknown]))) - 1
    more = f", nor are {others} more of its colors (was it smoothed, resized or saved as JPEG?)" if others else ""
    return (
        f"has the color {color_text(pixels[y, x])} ({red} {green} {blue}) at x={x}, y={y}, which is in no line of "
        f"{file}{more}; add a line, or repaint it"
    )
