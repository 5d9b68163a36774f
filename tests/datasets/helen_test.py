"""Helen in both of its layouts: the largest of the soft maps, the lists' splits, and HELEN*."""

import functools

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.helen import SPEC, Helen
from dmlcsr_jax.datasets.images import decode_label, encode_jpeg
from dmlcsr_jax.errors import UserError

LISTS = {"exemplars": ["10_1", "11_2"], "tuning": ["12_1"], "testing": ["13_1"]}
SHAPE = (40, 56)


def soft_maps(name):
    """[11, H, W] uint8, blurred and with equal values in places."""
    rng = np.random.default_rng(int(name.split("_")[0]))
    return (rng.integers(0, 8, (SPEC.num_classes, *SHAPE)) * 30).astype(np.uint8)


@functools.cache
def picture(name):
    return draw_face(int(name.split("_")[0]), SHAPE[1])[0][: SHAPE[0]]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "SmithCVPR2013_dataset_resized"
    (root / "images").mkdir(parents=True)
    for listed, names in LISTS.items():
        lines = [f"{number} , {name}" for number, name in enumerate(names, 1)]
        (root / f"{listed}.txt").write_text("\n".join(lines) + "\n\n")
        for name in names:
            (root / "images" / f"{name}.jpg").write_bytes(encode_jpeg(picture(name), 95))
            (root / "labels" / name).mkdir(parents=True)
            for number, share in enumerate(soft_maps(name)):
                Image.fromarray(share).save(root / "labels" / name / f"{name}_lbl{number:02d}.png")
    return root


@pytest.fixture
def relabeled(tmp_path):
    root = tmp_path / "HELEN_star"
    for split, names in {"train": LISTS["exemplars"], "test": LISTS["testing"]}.items():
        (root / split).mkdir(parents=True)
        for name in names:
            (root / split / f"{name}_image.jpg").write_bytes(encode_jpeg(picture(name), 95))
            Image.fromarray(soft_maps(name).argmax(0).astype(np.uint8)).save(root / split / f"{name}_label.png")
    return root


def test_label_is_the_largest_share(root, tmp_path):
    dataset = Helen(root, data_dir=tmp_path / "prepared").dataset()
    assert dataset.splits == {"train": 2, "val": 1, "test": 1} and dataset.spec == SPEC
    for split, names in zip(("train", "val", "test"), LISTS.values(), strict=True):
        source = dataset.source(split)
        for i, name in enumerate(names):
            assert source[i]["name"] == name
            np.testing.assert_array_equal(decode_label(source[i]["label"]), soft_maps(name).argmax(0))
    assert dataset.summary.official == {"train": 2_000, "val": 230, "test": 100}
    assert len(dataset.summary.differences()) == 3


def test_relabeled(relabeled, tmp_path):
    dataset = Helen(relabeled, data_dir=tmp_path / "prepared").dataset()
    assert dataset.splits == {"train": 2, "test": 1}
    np.testing.assert_array_equal(
        decode_label(dataset.source("test")[0]["label"]), soft_maps("13_1").argmax(0).astype(np.uint8)
    )
    assert dataset.summary.official == {"train": 1_999, "test": 100}
    assert "HELEN*" in dataset.summary.notes[0]


def _break(root, what):
    maps = root / "labels" / "11_2"
    match what:
        case "no map":
            (maps / "11_2_lbl07.png").unlink()
        case "map":
            (maps / "11_2_lbl07.png").write_bytes(b"no picture")
        case "size":
            Image.fromarray(np.zeros((5, 5), np.uint8)).save(maps / "11_2_lbl07.png")
        case "picture":
            (root / "images" / "11_2.jpg").unlink()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no map", r"11_2_lbl07.png is missing; add it"),
        ("map", r"11_2_lbl07.png cannot be decoded as a picture; replace"),
        ("size", r"11_2_lbl07.png is 5x5 but the maps before it are 56x40; replace it"),
        ("picture", r"images/11_2.jpg is missing; add it"),
    ],
)
def test_bad_files_stop_or_are_left_out_and_named(root, tmp_path, what, message):
    _break(root, what)
    with pytest.raises(UserError, match=message):
        Helen(root, data_dir=tmp_path / "prepared").dataset()
    dataset = Helen(root, data_dir=tmp_path / "prepared", bad_files="skip").dataset()
    assert dataset.splits == {"train": 1, "val": 1, "test": 1} and len(dataset.summary.skipped) == 1


def test_half_of_a_relabeled_face(relabeled, tmp_path):
    (relabeled / "train" / "11_2_image.jpg").unlink()
    with pytest.raises(UserError, match=r"train/11_2_image.jpg is missing; add it"):
        Helen(relabeled, data_dir=tmp_path / "prepared").dataset()


def test_lists_that_make_no_sense(root, tmp_path):
    (root / "tuning.txt").write_text("1 , 12_1\n2 13_1\n")
    with pytest.raises(UserError, match=r"tuning.txt: line 2 is '2 13_1'; it should be like '1 , 100032540_1'"):
        Helen(root)
    (root / "tuning.txt").unlink()
    with pytest.raises(UserError, match=r"tuning.txt is missing; it should have a line 'number , name'"):
        Helen(root)
    with pytest.raises(UserError, match=r"config.dataset.path: .*images is not a folder; .* should hold images, "):
        Helen(tmp_path)
