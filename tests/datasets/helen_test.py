"""Helen in both forms: soft maps with split lists, and HELEN*."""

import functools

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.helen import SPEC, Helen
from dmlcsr_jax.datasets.images import decode_label, encode_jpeg
from dmlcsr_jax.errors import UserError

LISTS = {"exemplars": ["10_1", "11_2"], "tuning": ["12_1"], "testing": ["13_1"]}
SHAPE = (40, 56)


def soft_maps(name):
    """[11, H, W] uint8, with ties."""
    rng = np.random.default_rng(int(name.split("_")[0]))
    return (rng.integers(0, 8, (SPEC.num_classes, *SHAPE)) * 30).astype(np.uint8)


@functools.cache
def image(name):
    return draw_face(int(name.split("_")[0]), SHAPE[1])[0][: SHAPE[0]]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "SmithCVPR2013_dataset_resized"
    (root / "images").mkdir(parents=True)
    for listed, names in LISTS.items():
        lines = [f"{number} , {name}" for number, name in enumerate(names, 1)]
        (root / f"{listed}.txt").write_text("\n".join(lines) + "\n\n")
        for name in names:
            (root / "images" / f"{name}.jpg").write_bytes(encode_jpeg(image(name), 95))
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
            (root / split / f"{name}_image.jpg").write_bytes(encode_jpeg(image(name), 95))
            Image.fromarray(soft_maps(name).argmax(0).astype(np.uint8)).save(root / split / f"{name}_label.png")
    return root


def prepare(root, tmp_path, **fields):
    return datasets.prepare(DatasetSettings("helen", path=str(root), data_dir=str(tmp_path / "prepared"), **fields))


def test_labels_are_the_largest_soft_map(root, tmp_path):
    dataset = prepare(root, tmp_path)
    assert dataset.splits == {"train": 2, "val": 1, "test": 1} and dataset.spec == SPEC
    for split, names in zip(("train", "val", "test"), LISTS.values(), strict=True):
        source = dataset.source(split)
        for i, name in enumerate(names):
            assert source[i]["name"] == name
            np.testing.assert_array_equal(decode_label(source[i]["label"]), soft_maps(name).argmax(0))
    assert dataset.summary.official == {"train": 2_000, "val": 230, "test": 100}
    assert len(dataset.summary.differences()) == 3


def test_relabeled(relabeled, tmp_path):
    dataset = prepare(relabeled, tmp_path)
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
            (maps / "11_2_lbl07.png").write_bytes(b"not an image")
        case "size":
            Image.fromarray(np.zeros((5, 5), np.uint8)).save(maps / "11_2_lbl07.png")
        case "image":
            (root / "images" / "11_2.jpg").unlink()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no map", r"11_2_lbl07.png is missing; add it"),
        ("map", r"11_2_lbl07.png cannot be decoded as an image; replace"),
        ("size", r"11_2_lbl07.png is 5x5 but the maps before it are 56x40; replace it"),
        ("image", r"images/11_2.jpg is missing; add it"),
    ],
)
def test_bad_files_stop_or_are_skipped(root, tmp_path, what, message):
    _break(root, what)
    with pytest.raises(UserError, match=message):
        prepare(root, tmp_path)
    dataset = prepare(root, tmp_path, bad_files="skip")
    assert dataset.splits == {"train": 1, "val": 1, "test": 1} and len(dataset.summary.skipped) == 1


def test_missing_image_of_a_relabeled_face(relabeled, tmp_path):
    (relabeled / "train" / "11_2_image.jpg").unlink()
    with pytest.raises(UserError, match=r"train/11_2_image.jpg is missing; add it"):
        prepare(relabeled, tmp_path)


def test_invalid_lists_and_folders(root, tmp_path):
    (root / "tuning.txt").write_text("1 , 12_1\n2 13_1\n")
    with pytest.raises(UserError, match=r"tuning.txt: line 2 is '2 13_1'; it should be like '1 , 100032540_1'"):
        Helen(root)
    (root / "tuning.txt").unlink()
    with pytest.raises(UserError, match=r"tuning.txt is missing; it should have one line 'number , name'"):
        Helen(root)
    with pytest.raises(UserError, match=r"config.dataset.path: .*images is not a folder; .* should contain images, "):
        Helen(tmp_path)


def test_keys_are_those_of_data_prepared_before(root, relabeled):
    assert Helen(root).key == "SmithCVPR2013_dataset_resized_6fdecde7ac6c59b1"
    assert Helen(relabeled).key == "HELEN_star_c216039e3acad787"
