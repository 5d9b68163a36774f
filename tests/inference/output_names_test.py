"""No two inputs share a result, and names are what a user expects."""

import itertools
import pathlib
import random

import pytest

from dmlcsr_jax.inference.output_names import unique_names

VIDEO = ".mp4"


def names(*paths):
    return unique_names([pathlib.PurePosixPath(path) for path in paths], [path.endswith(VIDEO) for path in paths])


def results(name, video):
    """Files, and folders that belong to the input alone, which end in a slash."""
    if video:
        return [f"{name}/", f"{name}_overlay.mp4", f"{name}_masks/", f"{name}_cutout/"]
    return [f"{name}.png", f"{name}_overlay.jpg", f"{name}_masks/", f"{name}_cutout.png"]


def meet(one, other):
    """Whether two results, "file" or "folder/", are the same or one lies in the other."""
    one, other = one.lower(), other.lower()
    return one.rstrip("/") == other.rstrip("/") or one.startswith(f"{other.rstrip('/')}/")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["photo.jpg", "other.png"], ["photo", "other"]),
        (["photo.jpg", "photo.png", "photo.jpg.png"], ["photo.jpg", "photo.png", "photo.jpg.png"]),
        (["photo.jpg", "photo.jpg.png"], ["photo", "photo.jpg"]),
        (["anna/1.jpg", "bob/1.jpg", "1.jpg"], ["anna/1", "bob/1", "1"]),
        (["1.jpg", "1.jpg", "1.jpg", "1.jpg-2"], ["1.jpg", "1.jpg-3", "1.jpg-4", "1.jpg-2"]),
        (
            ["IMG.jpg", "img.JPG", "caf\u00e9.jpg", "cafe\u0301.png"],
            ["IMG.jpg", "img.JPG-2", "caf\u00e9.jpg", "cafe\u0301.png"],
        ),
        (["live.heic", "live.mp4"], ["live.heic", "live.mp4"]),
        (["anna.jpg", "anna/1.jpg"], ["anna", "anna/1"]),
        (["a.png", "a_overlay.jpg"], ["a", "a_overlay"]),
        (["a.png", "a_cutout.jpg"], ["a", "a_cutout.jpg"]),
        (["a.png", "a_masks/hair.jpg"], ["a.png", "a_masks/hair"]),
        (["clip.mp4", "clip/000000.jpg"], ["clip.mp4", "clip/000000"]),
        (["a.jpg", "a.png.mp4", "a.png/1.jpg"], ["a.jpg", "a.png.mp4", "a.png/1"]),
        (["...mp4", "sub/..jpg", "plain"], ["...mp4", "sub/..jpg", "plain"]),
        (["1.mp4", "1_masks.mp4"], ["1", "1_masks.mp4"]),
    ],
)
def test_names(paths, expected):
    assert names(*paths) == expected


def test_results_never_meet():
    """Random lists of inputs that are made to meet."""
    rng = random.Random(0)
    stems = [
        "a",
        "A",
        "a.png",
        "a_cutout",
        "a_masks",
        "a_overlay",
        "a.jpg",
        "a.jpg-2",
        "a_masks/hair",
        "a/1",
        "a.png/1",
    ]
    for _ in range(2000):
        paths = [rng.choice(stems) + rng.choice([".jpg", ".png", VIDEO, ""]) for _ in range(rng.randint(2, 7))]
        found = names(*paths)
        all_results = [results(name, path.endswith(VIDEO)) for name, path in zip(found, paths, strict=True)]
        for (i, one), (j, other) in itertools.permutations(enumerate(all_results), 2):
            met = [(x, y) for x in one for y in other if meet(x, y)]
            assert not met, (paths, found, i, j, met)


def test_only_numbers_depend_on_the_order():
    paths = ["photo.jpg", "photo.png", "photo.jpg.png", "b/photo.jpg", "a_cutout.png", "a.jpg"]
    expected = dict(zip(paths, names(*paths), strict=True))
    for order in itertools.permutations(paths):
        assert dict(zip(order, names(*order), strict=True)) == expected


def test_thousands_of_equal_names_take_no_time():
    found = names(*["1.jpg"] * 20000)
    assert len(set(found)) == 20000 and found[-1] == "1.jpg-20000"
