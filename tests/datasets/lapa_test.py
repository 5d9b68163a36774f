"""LaPa as its archive unpacks: sizes vary, left is the image's left, bad landmarks do not lose the labels."""

import functools

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings, celebamask_hq
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_label, encode_jpeg
from dmlcsr_jax.datasets.lapa import NUM_LANDMARKS, SPEC, LaPa
from dmlcsr_jax.errors import UserError

# CelebAMask-HQ's class -> LaPa's. The subject's left (`l_`) is the right of the image.
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
        table[celebamask_hq.SPEC.class_id(theirs)] = SPEC.class_id(ours)
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
    return functools.partial(prepare_lapa, root, tmp_path / "prepared")


def prepare_lapa(root, data_dir, **fields):
    return datasets.prepare(DatasetSettings("lapa", path=str(root), data_dir=str(data_dir), **fields))


def test_examples_keep_their_sizes_and_landmarks(root, prepare):
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


def test_left_is_the_left_of_the_image(prepare):
    labels = decode_label(prepare().source("train")[0]["label"])
    columns = {name: np.nonzero(labels == SPEC.class_id(name))[1].mean() for name in ("left_eye", "right_eye", "nose")}
    assert columns["left_eye"] < columns["nose"] < columns["right_eye"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing; it should have the count 106"),
        ("", "is not a count followed by one point per line"),
        ("106\n1 2\n", "does not have 106 points x y after the line 106"),
        ("106\n" + "1 2\n" * 105 + "1 x\n", "is not a count followed by one point per line"),
        ("106\n" + "1 2\n" * 105 + "1 2 3\n", "is not a count followed by one point per line"),
        ("106\n" + "1 2\n" * 105 + "1 nan\n", "does not have 106 points x y"),
        ("5\n" + "1 2\n" * 106, "does not have 106 points x y"),
    ],
)
def test_invalid_landmarks_become_nan_with_a_remark(root, prepare, text, message):
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
        ("images/b_3.jpg", r"labels/b_3.png has no image; add it to .*images or remove"),
        ("labels/b_3.png", r"images/b_3.jpg has no label map; add .*labels/b_3.png or remove"),
    ],
)
def test_missing_image_or_labels(root, prepare, kind, message):
    (root / "train" / kind).unlink()
    with pytest.raises(UserError, match=message):
        prepare()
    dataset = prepare(bad_files="skip")
    assert dataset.splits == {"train": 2, "val": 1, "test": 1} and len(dataset.summary.skipped) == 1


def test_unknown_class_number(root, prepare):
    Image.fromarray(np.full((72, 80), 11, np.uint8)).save(root / "train" / "labels" / "b_3.png")
    with pytest.raises(UserError, match=r"labels/b_3.png has value 11; 11 classes allow 0 to 10, and 255"):
        prepare()


def test_folder_without_train(tmp_path):
    with pytest.raises(UserError, match=r"config.dataset.path: .*train is not a folder; .* should contain train"):
        LaPa(tmp_path)


def test_key_is_that_of_data_prepared_before(root):
    assert LaPa(root).key == "LaPa_a9054b6f62c688f6"
