"""Left and right in class names, in every spelling."""

import itertools

import pytest

from dmlcsr_jax.datasets import celebamask_hq, lapa, sides

# What a name looks like with a side and a part, both in lower case.
SPELLINGS = {
    **{f"side{s}part": lambda side, part, s=s: f"{side}{s}{part}" for s in ("_", "-", " ", "", ".")},
    **{f"part{s}side": lambda side, part, s=s: f"{part}{s}{side}" for s in ("_", "-", " ", "", ".")},
    "sidePart": lambda side, part: f"{side}{part.title()}",
    "SidePart": lambda side, part: f"{side.title()}{part.title()}",
    "partSide": lambda side, part: f"{part}{side.title()}",
    "PartSide": lambda side, part: f"{part.title()}{side.title()}",
    "SIDE_PART": lambda side, part: f"{side}_{part}".upper(),
    "SIDEPART": lambda side, part: f"{side}{part}".upper(),
    "Part Side": lambda side, part: f"{part} {side}".title(),
    "part (side)": lambda side, part: f"{part} ({side})",
    "upper side part": lambda side, part: f"upper {side} {part}",
}
WORDS = {"word": ("left", "right"), "letter": ("l", "r")}
ALL = list(itertools.product(SPELLINGS, WORDS))


def name(spelling, word, side, part="brow"):
    return SPELLINGS[spelling](WORDS[word][side], part)


@pytest.mark.parametrize(("spelling", "word"), ALL)
def test_both_sides_in_one_spelling_are_a_pair(spelling, word):
    pairs = tuple((name(spelling, word, 0, part), name(spelling, word, 1, part)) for part in ("brow", "eye"))
    names = ["background", *pairs[0], "nose", pairs[1][1], "hair", pairs[1][0]]
    assert sides.find_pairs(names) == pairs
    assert not sides.find_one_sided(names, pairs)


def test_two_spellings_are_no_pair():
    for one, other in itertools.combinations(ALL, 2):
        left, right = name(*one, 0), name(*other, 1)
        if left.lower() != name(*other, 0).lower():  # otherwise only the case differs
            assert sides.find_pairs(["background", left, right, "nose"]) == (), (left, right)


@pytest.mark.parametrize(("spelling", "word"), ALL)
def test_one_side_alone_is_found(spelling, word):
    joined = spelling in ("sidepart", "partside", "SIDEPART")
    for side in (0, 1):
        alone = name(spelling, word, side)
        expected = [] if joined and word == "letter" else [alone]  # nobody can tell that `lbrow` has a side
        assert sides.find_one_sided(["background", alone, "nose"], ()) == expected


@pytest.mark.parametrize("spec", [celebamask_hq.SPEC, lapa.SPEC])
def test_the_names_of_known_data_sets(spec):
    pairs = sides.find_pairs(spec.class_names)
    assert pairs == spec.flip_pairs
    assert sides.find_one_sided(spec.class_names, pairs) == []


@pytest.mark.parametrize(
    ("names", "pairs", "one_sided"),
    [
        (["l_lip", "u_lip", "neck_l", "ear_r"], (), []),  # lower lip, necklace, earring
        (["L-Lip", "Neck L", "earR"], (), []),
        (["l_ear", "ear_r"], (), ["l_ear"]),
        (["neck", "neck_l", "chain", "chain_l"], (), []),
        (["l_tooth", "r_tooth", "tooth_r"], (("l_tooth", "r_tooth"),), []),
        (["l_lid", "u_lid"], (), []),
        (["l_brow", "r_eye", "eye"], (), ["l_brow", "r_eye"]),
        (["left_eye", "right eye"], (), ["left_eye", "right eye"]),
        (["l_eye", "right_eye"], (), ["l_eye", "right_eye"]),
        (["Left_eye", "right_eye"], (("Left_eye", "right_eye"),), []),
        (["l_eye", "L_eye", "r_eye"], (), ["l_eye", "L_eye", "r_eye"]),  # which one?
        (["le", "re", "lb", "rb", "ulip", "llip"], (("le", "re"), ("lb", "rb")), []),
        (["left", "right"], (("left", "right"),), []),
        (["L", "R", "B"], (), []),
        (["cleft", "bright", "hair", "collar"], (), []),
        (
            ["left_eye_left", "left_eye_right", "right_eye_left", "right_eye_right"],
            (("left_eye_left", "right_eye_right"), ("left_eye_right", "right_eye_left")),
            [],
        ),
        (["l_lip_l", "l_lip_r", "u_lip_l", "u_lip_r"], (("l_lip_l", "l_lip_r"), ("u_lip_l", "u_lip_r")), []),
        (["œil_l", "œil_r", "лицо"], (("œil_l", "œil_r"),), []),
    ],
)
def test_names_that_could_be_misread(names, pairs, one_sided):
    names = ["background", *names]
    assert sides.find_pairs(names) == pairs
    assert sides.find_one_sided(names, pairs) == one_sided


def test_pairs_in_one_line():
    assert sides.describe([("l_eye", "r_eye"), ("a", "b")]) == "change places when mirrored: l_eye and r_eye, a and b"
    assert sides.describe([]) == "no classes change places when mirrored"
