"""Names for results, so that no two inputs write the same file."""

import collections
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence, Set

# What `results` adds to the name of an input: files and, without a dot, folders.
_ADDED = (".png", "_overlay.jpg", "_overlay.mp4", "_cutout.png", "_cutout", "_masks")


def unique_names(paths: Sequence[pathlib.PurePath], videos: Sequence[bool]) -> list[str]:
    """The name of each input's results: its path without its ending, or with it, or with a number as well.

    Inputs whose results would meet keep their endings. If results still meet, as those of `a/1.jpg` and `b/1.jpg` do
    if both files are named alone, all but the first get a number: `1.jpg-2`. Names also differ where a file system
    ignores case. They do not depend on what is written, and not on the order of the inputs unless they have numbers.

    Args:
      paths: relative to the folder of results.
      videos: whether each input is a video, whose frames are written into a folder of its name.
    """
    folders = {_key(str(folder)) for path in paths for folder in path.parents}
    names = [_without_ending(path) for path in paths]
    short = set(range(len(paths)))
    while short:
        counts = collections.Counter(map(_key, names))
        meeting = [i for i in short if _meets(_key(names[i]), counts, folders, videos[i])]
        if not meeting:
            break
        short.difference_update(meeting)
        for i in meeting:
            names[i] = str(paths[i])
    _add_numbers(names, folders, videos)
    return names


def _add_numbers(names: list[str], folders: Set[str], videos: Sequence[bool]) -> None:
    """Changes `names` where results still meet."""
    counts = collections.Counter(map(_key, names))
    meeting = [i for i, name in enumerate(names) if _meets(_key(name), counts, folders, videos[i])]
    for i in meeting:
        counts.pop(_key(names[i]), None)
    numbers: dict[str, int] = {}
    for i in meeting:
        start = key = _key(names[i])
        number = numbers.get(start, 1)
        while key in counts or _meets(key, counts, folders, videos[i]) or any(key + end in counts for end in _ADDED):
            number += 1
            key = f"{start}-{number}"
        numbers[start] = number
        names[i] += f"-{number}" if number > 1 else ""
        counts[key] = 1


def _meets(key: str, counts: Mapping[str, int], folders: Set[str], video: bool) -> bool:
    """Whether results of the name `key` meet those of another one in `counts`, or a folder of others."""
    own = _ADDED if video else ("_cutout",)
    return (
        counts.get(key, 0) > 1
        or any(key.endswith(end) and key.removesuffix(end) in counts for end in own)
        or any(key + end in folders for end in _ADDED)
        or (video and key in folders)
    )


def _without_ending(path: pathlib.PurePath) -> str:
    return str(path.parent / path.stem) if path.stem.strip(".") else str(path)  # ".." would be another folder


def _key(name: str) -> str:
    """What names that some file system takes for the same have in common."""
    return unicodedata.normalize("NFC", name).casefold()
