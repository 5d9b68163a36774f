"""A user's folder: examples are stored unchanged, and every mistake is named and leaves no prepared data."""

import functools
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings, celebamask_hq, lapa
from dmlcsr_jax.datasets.folder import Folder
from dmlcsr_jax.datasets.images import decode_image, decode_label, encode_image, encode_label
from dmlcsr_jax.errors import UserError

NAMES = ("background", "skin", "l_eye", "r_eye", "u_lip", "l_lip")


def image(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def label_map(seed: int, height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(NAMES), (height, width), np.uint8)


def write_split(root: pathlib.Path, split: str, count: int) -> None:
    for kind in ("images", "labels"):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (root / split / "images" / f"{i:03d}.png").write_bytes(encode_image(image(i)))
        (root / split / "labels" / f"{i:03d}.png").write_bytes(encode_label(label_map(i)))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "faces"
    write_split(root, "train", 5)
    write_split(root, "val", 2)
    (root / "label_names.txt").write_text("\n".join(NAMES) + "\n")
    return root


@pytest.fixture
def prepare(root, tmp_path):
    settings = DatasetSettings("folder", path=str(root), data_dir=str(tmp_path / "prepared"))
    return functools.partial(datasets.prepare, settings)


def prepared_folders(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    return list((tmp_path / "prepared" / "folder").glob("*/1.1.0"))


def test_examples_are_unchanged_and_sorted_by_name(prepare):
    dataset = prepare()
    assert dataset.splits == {"train": 5, "val": 2}
    source = dataset.source("train")
    assert len(source) == 5
    for i in range(5):
        example = source[i]
        assert example["name"] == f"{i:03d}"
        np.testing.assert_array_equal(decode_image(example["image"]), image(i))
        np.testing.assert_array_equal(decode_label(example["label"]), label_map(i))


def test_flip_pairs_are_inferred_if_both_names_exist(prepare):
    assert prepare().spec.flip_pairs == (("l_eye", "r_eye"),)  # l_lip is the lower lip


@pytest.mark.parametrize("spec", [celebamask_hq.SPEC, lapa.SPEC])
def test_known_class_names_have_the_known_pairs_and_groups(root, spec):
    (root / "label_names.txt").write_text("\n".join(spec.class_names))
    found = Folder(root).spec
    assert set(found.flip_pairs) == set(spec.flip_pairs)
    assert found.score_groups == spec.score_groups


def test_flip_pairs_file(root):
    (root / "flip_pairs.txt").write_text("u_lip, l_lip\nl_eye r_eye\n")
    assert Folder(root).spec.flip_pairs == (("u_lip", "l_lip"), ("l_eye", "r_eye"))


def test_prepared_again_only_when_the_folder_changes(root, prepare, tmp_path):
    first = prepare().directory
    assert prepare().directory == first
    write_split(root, "train", 6)
    second = prepare()
    assert second.directory != first
    assert second.splits["train"] == 6
    assert [str(path) for path in prepared_folders(tmp_path)] == [second.directory]  # no older copy is left


def test_palettes_jpegs_and_other_formats(root, prepare):
    palette = Image.fromarray(label_map(0), "P")
    palette.putpalette([value for i in range(256) for value in (i, 255 - i, 128)])
    palette.save(root / "train/labels/000.png")
    Image.fromarray(image(1)).save(root / "train/images/001.jpg")
    (root / "train/images/001.png").unlink()
    Image.fromarray(image(2)).save(root / "train/images/002.bmp")
    (root / "train/images/002.png").unlink()
    source = prepare().source("train")
    np.testing.assert_array_equal(decode_label(source[0]["label"]), label_map(0))
    assert source[1]["image"] == (root / "train/images/001.jpg").read_bytes()
    np.testing.assert_array_equal(decode_image(source[2]["image"]), image(2))


def test_missing_split_lists_the_splits(prepare):
    with pytest.raises(
        UserError, match=r"no split 'test'; it has train, val: name one of them with --config.evaluation.split"
    ):
        prepare().source("test")


def _break(root: pathlib.Path, what: str) -> None:
    """Makes one mistake."""
    train = root / "train"
    names = root / "label_names.txt"
    match what:
        case "no names":
            names.unlink()
        case "empty name":
            names.write_text("background\n\nskin\n")
        case "repeated name":
            names.write_text("background\nskin\nskin\n")
        case "one class":
            names.write_text("background\n")
        case "names not text":
            names.write_bytes(b"\xff\xfe\x00")
        case "unknown pair":
            (root / "flip_pairs.txt").write_text("l_ear r_eye\n")
        case "odd pair":
            (root / "flip_pairs.txt").write_text("l_eye r_eye u_lip\n")
        case "pair twice":
            (root / "flip_pairs.txt").write_text("l_eye r_eye\nl_eye u_lip\n")
        case "no split":
            train.rename(root / "training")
            (root / "val").rename(root / "evaluation")
        case "labels alone":
            (train / "images").rename(train / "pictures")
        case "images alone":
            (train / "labels").rename(train / "classes")
            (root / "val/labels").rename(root / "val/classes")
        case "two names for labels":
            (train / "labels").rename(train / "masks")
            (train / "annotations").mkdir()
        case "two names for val":
            (root / "val").rename(root / "valid")
            (root / "validation").mkdir()
        case "labels as JPEG":
            for path in (train / "labels").iterdir():
                path.rename(path.with_suffix(".jpg"))
        case "labels not nested":
            (train / "images/alice").mkdir()
            (train / "images/003.png").rename(train / "images/alice/003.png")
        case "empty split":
            (root / "test").mkdir()
        case "no label":
            (train / "labels/003.png").unlink()
        case "no image":
            (train / "images/003.png").unlink()
        case "same stem":
            Image.fromarray(image(0)).save(train / "images/003.jpg")
        case "broken image":
            (train / "images/003.png").write_bytes(b"not an image")
        case "truncated image":
            (train / "images/003.png").write_bytes(encode_image(image(3))[:100])
        case "empty image":
            (train / "images/003.png").write_bytes(b"")
        case "broken label":
            (train / "labels/003.png").write_bytes(encode_label(label_map(3))[:60])
        case "colored label":
            (train / "labels/003.png").write_bytes(encode_image(image(3)))
        case "other size":
            (train / "labels/003.png").write_bytes(encode_label(label_map(3, 12, 17)))
        case "outside":
            (train / "labels/003.png").write_bytes(encode_label(np.full((12, 16), len(NAMES), np.uint8)))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no names", r"label_names.txt is missing; it should have one class name per line"),
        ("empty name", r"label_names.txt: line 2 is empty; write"),
        ("repeated name", r"label_names.txt: line 3 repeats 'skin'; give"),
        ("one class", r"label_names.txt names 1 classes; name 2 to 255"),
        ("names not text", r"label_names.txt cannot be read as UTF-8"),
        ("unknown pair", r"flip_pairs.txt: line 1 names 'l_ear', not in label_names.txt"),
        ("odd pair", r"flip_pairs.txt: line 1 is 'l_eye r_eye u_lip'; write two"),
        ("pair twice", r"flip_pairs.txt: line 2 names 'l_eye' again"),
        ("no split", r"faces has no folder train, val or test with label maps; put images into train/images"),
        ("labels alone", r"train/images has no image files; add some$"),
        ("images alone", r"no folder .* with label maps; .*train has images but no folder labels"),
        ("two names for labels", r"train has masks and annotations but no labels; rename the one to read to labels"),
        ("two names for val", r"faces has validation and valid but no val; rename the one to read to val"),
        (
            "labels as JPEG",
            r"train/labels has no PNG files, only 5 \.jpg; JPEG changes class numbers, so write .* PNG",
        ),
        ("labels not nested", r"train/labels/003.png has no image"),
        ("empty split", r"test/images has no image files; add some$"),
        ("no label", r"train/images/003.png has no label map; add .*train/labels/003.png"),
        ("no image", r"train/labels/003.png has no image; add"),
        ("same stem", r"003.png and 003.jpg have the same stem; rename one$"),
        ("broken image", r"train/images/003.png cannot be decoded as an image; replace"),
        ("truncated image", r"train/images/003.png cannot be decoded as an image; replace"),
        ("empty image", r"train/images/003.png cannot be decoded as an image; replace"),
        ("broken label", r"train/labels/003.png cannot be decoded as a label map; replace"),
        ("colored label", r"train/labels/003.png has pixels of mode RGB; label maps need one channel"),
        ("other size", r"train/labels/003.png is 17x12 but 003.png is 16x12; they must"),
        ("outside", r"train/labels/003.png has value 6; 6 classes allow 0 to 5, and 255"),
    ],
)
def test_mistakes_are_named_in_one_line(root, prepare, tmp_path, what, message):
    _break(root, what)
    for _ in range(2):  # the leftovers of the first call must not count as a data set
        with pytest.raises(UserError, match=message) as error:
            prepare()
        assert "\n" not in str(error.value)
    assert not prepared_folders(tmp_path)


def test_missing_and_empty_root(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder; it needs train/images"):
        Folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is empty; it needs train/images"):
        Folder(tmp_path / "empty")


def test_ignored_pixels_are_valid(root, prepare):
    (root / "train/labels/003.png").write_bytes(encode_label(np.full((12, 16), 255, np.uint8)))
    assert (decode_label(prepare().source("train")[3]["label"]) == 255).all()


def test_unwritable_data_folder(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"config.dataset.data_dir: cannot write .*; name a folder"):
        datasets.prepare(DatasetSettings("folder", path=str(root), data_dir=str(tmp_path / "file")))


def test_missing_shard(prepare):
    directory = pathlib.Path(prepare().directory)
    next(directory.glob("*val*")).unlink()
    with pytest.raises(
        UserError, match=r"incomplete: .*val.* is missing; delete the prepared copy with --mode=prepare --clean"
    ):
        prepare()


def test_preparing_needs_no_tensorflow(root, prepare):
    prepare()
    assert "tensorflow" not in sys.modules
