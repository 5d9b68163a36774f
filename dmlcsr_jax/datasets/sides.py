"""Left and right in class names: which classes change places when an image is mirrored.

A side is `l` or `r`, `left` or `right`, in any case and anywhere in a name: `l_eye`, `EyeLeft`, `left eye`, `eye-l`,
`lefteye`. The names of a pair differ only there, so `ear_l` and `ear_r` are a pair, `l_ear` and `ear_r` are none.
"""

import collections
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

_OPPOSITE = {"l": "r", "r": "l", "left": "right", "right": "left"}
_LEFT = ("l", "left")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")  # also those of LeftEye and eyeL
_LETTERS = re.compile("[A-Za-z]+")
# Words of CelebAMask-HQ whose letter is no side: lower lip, necklace, earring.
_NO_SIDES = (("l", "lip"), ("neck", "l"), ("ear", "r"))
_FEWEST_LETTERS = 3  # that a side is joined to in a name that is taken for one-sided: `lefteye`, but not `cleft`

Pair: TypeAlias = tuple[str, str]
Span: TypeAlias = tuple[int, int]


def find_pairs(names: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs (left, right) among class names, in the order of the names. Each name is in one pair at most."""
    partners: dict[str, str] = {}
    for read in (_all_words, _single_words, _joined_words):  # the surest readings first
        _add_pairs(partners, [name for name in names if name not in partners], read)
    firsts = [name for name in names if name in partners and names.index(name) < names.index(partners[name])]
    return tuple(_left_first(name, partners[name]) for name in firsts)


def find_one_sided(names: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """The names that say left or right and are in no pair.

    A single letter may mean something else. It is not taken for a side in the names of CelebAMask-HQ (`neck_l` is a
    necklace), if another class has another letter in its place (`u_lip` beside `l_lip`), if the name without a letter
    at its end is a class, or if that part has both sides already.
    """
    paired = {name for pair in pairs for name in pair}
    both = {_without_sides(name) for name in paired}
    others = [name for name in names if name not in paired]
    return [name for name in others if _says_side(name) or (_has_letter(name) and not _is_excused(name, names, both))]


def describe(pairs: Sequence[Pair]) -> str:
    """What happens to the classes of mirrored images, in one line."""
    listed = ", ".join(f"{left} and {right}" for left, right in pairs)
    return f"change places when mirrored: {listed}" if pairs else "no classes change places when mirrored"


def _add_pairs(partners: dict[str, str], names: Sequence[str], read: Callable[[str], Iterator[list[Span]]]) -> None:
    """Adds both directions of every pair among the names, of which no other name is an equally good partner."""
    found = collections.defaultdict(list)
    for name in names:
        for spans in read(name):
            found[_marked(name, spans)].append(name)
    for name in names:
        for spans in read(name):
            same, opposite = found[_marked(name, spans)], found.get(_marked(name, spans, mirror=True), [])
            if len(same) == len(opposite) == 1 and not partners.keys() & {name, opposite[0]}:
                partners |= {name: opposite[0], opposite[0]: name}


def _marked(name: str, spans: Sequence[Span], *, mirror: bool = False) -> str:
    """The name with its sides, or the opposite ones, marked and in lower case."""
    text, end = "", 0
    for start, stop in spans:
        side = name[start:stop].lower()
        text += f"{name[end:start]}\0{_OPPOSITE[side] if mirror else side}\0"
        end = stop
    return text + name[end:]


def _sides(name: str) -> list[Span]:
    """Where the words of a name are sides; a letter that is the whole name is none."""
    words = [word for word in _WORD.finditer(name) if word.group().lower() in _OPPOSITE]
    return [word.span() for word in words if len(word.group()) > 1 or len(name) > 1]


def _all_words(name: str) -> Iterator[list[Span]]:
    """All sides at once: the left corner of the left eye becomes the right corner of the right eye."""
    if spans := _sides(name):
        yield spans


def _single_words(name: str) -> Iterator[list[Span]]:
    """Each side alone: in `l_lip_l` and `l_lip_r` the first letter is none."""
    yield from ([span] for span in _sides(name))


def _joined_words(name: str) -> Iterator[list[Span]]:
    """Sides that begin or end a word without a separator, too: `lefteye`, `reye`."""
    spans = set(_sides(name))
    for word in _LETTERS.finditer(name):
        text, (start, stop) = word.group().lower(), word.span()
        for side in _OPPOSITE if text not in _OPPOSITE else ():
            spans |= {(start, start + len(side))} if text.startswith(side) else set()
            spans |= {(stop - len(side), stop)} if text.endswith(side) else set()
    yield from ([span] for span in sorted(spans))


def _left_first(name: str, other: str) -> Pair:
    """Orders a pair by the first place where the names differ."""
    place = next(i for i, (a, b) in enumerate(zip(name.lower(), other.lower(), strict=False)) if a != b)
    return (name, other) if name[place].lower() == "l" else (other, name)


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def _without_sides(name: str) -> tuple[str, ...]:
    return tuple(word for word in _words(name) if word not in _OPPOSITE)


def _says_side(name: str) -> bool:
    """Whether a name has the word left or right, alone or joined to another."""
    return any(
        text == side or (len(text) >= len(side) + _FEWEST_LETTERS and (text.startswith(side) or text.endswith(side)))
        for side in ("left", "right")
        for text in (*_words(name), *map(str.lower, _LETTERS.findall(name)))
    )


def _has_letter(name: str) -> bool:
    return any(stop - start == 1 for start, stop in _sides(name))


def _is_excused(name: str, names: Sequence[str], both: set[tuple[str, ...]]) -> bool:
    """Whether the letter in a name may mean something other than a side; see `find_one_sided`."""
    words = _words(name)
    known = words in _NO_SIDES or _without_sides(name) in both
    at_end = words[-1] in _OPPOSITE and any(words[:-1] == _words(other) for other in names)
    return known or at_end or any(_differs_in_other_letter(words, _words(other)) for other in names)


def _differs_in_other_letter(words: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether only one word differs, and is the letter of a side here and another letter there."""
    different = [(a, b) for a, b in zip(words, other, strict=False) if a != b]
    if len(words) != len(other) or len(different) != 1:
        return False
    ((letter, there),) = different
    return letter in ("l", "r") and len(there) == 1 and there not in _OPPOSITE
