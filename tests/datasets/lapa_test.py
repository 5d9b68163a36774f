"""LaPa in the layout of its archive: sizes vary, sides are the picture's, landmarks never stop the labels."""

import functools

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_label, encode_jpeg
from dmlcsr_jax.datasets.lapa import NUM_LANDMARKS, SPEC, LaPa
from dmlcsr_jax.datasets.specs import CELEBAMASK_HQ
from dmlcsr_jax.errors import UserError

# The subject's left (CelebAMask-HQ's `l_`) is the right of the picture.
NAMES = {
    "skin": "skin",
    "r_brow": "left_eyebrow",
    "l_brow": "right_eyebrow",
    "r_eye": "left_eye",
    "l_eye": "right_eye",
    "nose": "nose",
    "u_lip": "upper_lip",
    "mouth": "inner_mouth",
    "l_lip": "lower_lip",
    "hair": "hair",
}
SIZES = {"a_1": 64, "HELEN_2": 96, "b_3": 80}


@functools.cache
def face(name):
    """A drawn face with LaPa's classes."""
    image, labels = draw_face(sum(map(ord, name)), SIZES[name])
    table = np.zeros(256, np.uint8)
    for theirs, ours in NAMES.items():
        table[CELEBAMASK_HQ.class_id(theirs)] = SPEC.class_id(ours)
    return image[: SIZES[name] - 8], table[labels][: SIZES[name] - 8]


def landmarks(name):
    return np.random.default_rng(len(name)).uniform(0, 60, (NUM_LANDMARKS, 2)).round(2).astype(np.float32)


def write_face(split, name):
    image, labels = face(name)
    for kind in ("images", "labels", "landmarks"):
        (split / kind).mkdir(parents=True, exist_ok=True)
    (split / "images" / f"{name}.jpg").write_bytes(encode_jpeg(image, 95))
    Image.fromarray(labels).save(split / "labels" / f"{name}.png")
    points = "\n".join(f"{x:.2f} {y:.2f}" for x, y in landmarks(name))
    (split / "landmarks" / f"{name}.txt").write_text(f"{NUM_LANDMARKS}\n{points}\n")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "LaPa"
    for name in SIZES:
        write_face(root / "train", name)
    write_face(root / "val", "a_1")
    write_face(root / "test", "b_3")
    return root


@pytest.fixture
def prepare(root, tmp_path):
    return lambda **kwargs: LaPa(root, data_dir=tmp_path / "prepared", **kwargs).dataset()


def test_examples_come_back_with_their_own_sizes_and_landmarks(root, prepare):
    dataset = prepare()
    assert dataset.splits == {"train": 3, "val": 1, "test": 1} and dataset.spec == SPEC
    source = dataset.source("train")
    assert [source[i]["name"] for i in range(3)] == sorted(SIZES)
    for i, name in enumerate(sorted(SIZES)):
        example = source[i]
        assert example["image"] == (root / "train" / "images" / f"{name}.jpg").read_bytes()
        np.testing.assert_array_equal(decode_label(example["label"]), face(name)[1])
        np.testing.assert_allclose(example["landmarks"], landmarks(name))
    assert dataset.summary.official == {"train": 18_176, "val": 2_000, "test": 2_000}


def test_left_is_the_left_of_the_picture(prepare):
    labels = decode_label(prepare().source("train")[0]["label"])
    columns = {name: np.nonzero(labels == SPEC.class_id(name))[1].mean() for name in ("left_eye", "right_eye", "nose")}
    assert columns["left_eye"] < columns["nose"] < columns["right_eye"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing; it should have the count 106"),
        ("", "is not a count and then a point a line"),
        ("106\n1 2\n", "has no 106 points x y after the line 106"),
        ("106\n" + "1 2\n" * 105 + "1 x\n", "is not a count and then a point a line"),
        ("106\n" + "1 2\n" * 105 + "1 2 3\n", "is not a count and then a point a line"),
        ("106\n" + "1 2\n" * 105 + "1 nan\n", "has no 106 points x y"),
        ("5\n" + "1 2\n" * 106, "has no 106 points x y"),
    ],
)
def test_broken_landmarks_do_not_stop_the_labels(root, prepare, text, message):
    path = root / "train" / "landmarks" / "b_3.txt"
    path.unlink() if text is None else path.write_text(text)
    dataset = prepare()
    assert dataset.splits["train"] == 3
    example = dataset.source("train")[2]
    assert example["name"] == "b_3" and np.isnan(example["landmarks"]).all()
    np.testing.assert_array_equal(decode_label(example["label"]), face("b_3")[1])
    (remark,) = dataset.summary.splits["train"].remarks
    assert "landmarks/b_3.txt" in remark and message in remark and not dataset.summary.skipped


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("images/b_3.jpg", r"labels/b_3.png has no picture; add it to .*images or remove"),
        ("labels/b_3.png", r"images/b_3.jpg has no label map; add .*labels/b_3.png or remove"),
    ],
)
def test_a_face_of_which_half_is_missing(root, prepare, kind, message):
    (root / "train" / kind).unlink()
    with pytest.raises(UserError, match=message):
        prepare()
    dataset = prepare(bad_files="skip")
    assert dataset.splits == {"train": 2, "val": 1, "test": 1} and len(dataset.summary.skipped) == 1


def test_class_that_is_none(root, prepare):
    Image.fromarray(np.full((72, 80), 11, np.uint8)).save(root / "train" / "labels" / "b_3.png")
    with pytest.raises(UserError, match=r"labels/b_3.png has value 11; 11 classes allow 0 to 10, and 255"):
        prepare()


def test_folder_without_train(tmp_path):
    with pytest.raises(UserError, match=r"config.dataset.path: .*train is not a folder; .* should hold train"):
        LaPa(tmp_path)
