"""Folders as people have them: nested, under other names, without `val`, with files that are no data."""

import os
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings, layout
from dmlcsr_jax.datasets.folder import Folder
from dmlcsr_jax.datasets.images import decode_label, encode_image, encode_label
from dmlcsr_jax.datasets.lapa import LaPa
from dmlcsr_jax.datasets.layout import find_images, find_layout, set_aside
from dmlcsr_jax.datasets.raw_files import Pair
from dmlcsr_jax.errors import UserError


def write_pair(
    split: pathlib.Path, name: str, value: int = 0, *, images: str = "images", labels: str = "labels"
) -> None:
    for folder, data in (
        (images, encode_image(np.full((4, 6, 3), value, np.uint8))),
        (labels, encode_label(np.full((4, 6), value, np.uint8))),
    ):
        path = split / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "faces"
    root.mkdir()
    (root / "label_names.txt").write_text("background\nskin\nhair\n")
    return root


def prepare(root, **options):
    settings = DatasetSettings("folder", path=str(root), data_dir=str(root.parent / "prepared"), options=options)
    return datasets.prepare(settings)


def labels_by_name(dataset, split):
    source = dataset.source(split)
    return {source[i]["name"]: int(decode_label(source[i]["label"])[0, 0]) for i in range(len(source))}


def test_nested_folders_keep_equal_stems_apart(root):
    expected = {"a/b/000": 0, "a/000": 1, "000": 2, "z.y/000.x": 1}
    for name, value in expected.items():
        write_pair(root / "train", name, value)
    assert labels_by_name(prepare(root), "train") == expected


def test_linked_folders_are_read_and_loops_are_not(root, tmp_path):
    write_pair(tmp_path / "elsewhere", "000", 1)
    write_pair(root / "train", "001", 2)
    for kind in ("images", "labels"):
        (root / "train" / kind / "linked").symlink_to(tmp_path / "elsewhere" / kind)
        (tmp_path / "elsewhere" / kind / "loop").symlink_to(tmp_path / "elsewhere" / kind)
        (root / "train" / kind / "loop").symlink_to(root)
        (tmp_path / "other" / kind).mkdir(parents=True)
        (tmp_path / "other" / kind / "back").symlink_to(tmp_path / "elsewhere" / kind)
        (tmp_path / "elsewhere" / kind / "there").symlink_to(tmp_path / "other" / kind)
    assert labels_by_name(prepare(root), "train") == {"001": 2, "linked/000": 1}


@pytest.mark.parametrize("val", ["val", "validation", "valid"])
@pytest.mark.parametrize("labels", ["labels", "masks", "annotations"])
def test_other_names_of_folders(root, val, labels):
    write_pair(root / "train", "000", 1, labels=labels)
    write_pair(root / val, "001", 2, labels=labels)
    dataset = prepare(root)
    assert labels_by_name(dataset, "train") == {"000": 1} and labels_by_name(dataset, "val") == {"001": 2}
    assert dataset.warnings == ()


def test_the_usual_name_comes_first_and_the_other_is_named(root):
    write_pair(root / "train", "000", 1)
    write_pair(root / "train", "000", 2, labels="masks")
    write_pair(root / "val", "001", 1)
    write_pair(root / "valid", "002", 2)
    dataset = prepare(root)
    assert labels_by_name(dataset, "train") == {"000": 1} and labels_by_name(dataset, "val") == {"001": 1}
    assert dataset.warnings == (
        f"{root}/train/masks is not read, because labels is there",
        f"{root}/valid is not read, because val is there",
    )


def test_images_of_any_format_are_read(root):
    for name, suffix in (("a", ".gif"), ("b", ".ppm"), ("c", ".JFIF")):
        write_pair(root / "train", name, 1)
        path = root / "train" / "images" / f"{name}.png"
        Image.open(path).save(path.with_suffix(suffix), format="JPEG" if suffix == ".JFIF" else None)
        path.unlink()
    assert labels_by_name(prepare(root), "train") == {"a": 1, "b": 1, "c": 1}


def test_hidden_files_are_no_data_and_others_are_counted(root):
    write_pair(root / "train", "000", 1)
    for path in ("images/._000.png", "labels/._000.png", "images/.cache/000.png", "labels/.DS_Store", "images/a.cr2"):
        (root / "train" / path).parent.mkdir(exist_ok=True)
        (root / "train" / path).write_bytes(b"nothing")
    (root / "train" / "images" / "b.CR2").write_bytes(b"")
    (root / "train" / "images" / "readme").write_bytes(b"")
    dataset = prepare(root)
    assert labels_by_name(dataset, "train") == {"000": 1}
    assert dataset.warnings == (f"{root}/train/images has files that are not read: 1 without an ending, 2 .cr2",)
    (root / "train" / "images" / "readme").unlink()  # the copy stays, what is said of the folder does not
    assert prepare(root).warnings == (f"{root}/train/images has files that are not read: 2 .cr2",)


def test_one_split_is_enough(root):
    write_pair(root / "test", "000", 1)
    dataset = prepare(root)
    assert dataset.splits == {"test": 1}
    with pytest.raises(
        UserError, match=r"no split 'val'; it has test: name one of them with --config.evaluation.split$"
    ):
        dataset.source("val")


def test_a_split_without_label_maps_is_left_to_predict(root):
    write_pair(root / "train", "000", 1)
    write_pair(root / "test", "001", 1)
    (root / "test" / "labels").rename(root / "elsewhere")
    dataset = prepare(root)
    assert dataset.splits == {"train": 1}
    assert dataset.warnings == (f"{root}/test has images but no folder labels, so only predict reads it",)


def names(count):
    return [f"{i:03d}" for i in range(count)]


def test_a_share_of_train_is_set_aside(root):
    for i in range(20):
        write_pair(root / "train", f"{i:03d}", i % 3)
    with pytest.raises(UserError, match=r"no split 'val'; .*--config.dataset.folder.val_share=0.1"):
        prepare(root).source("val")
    dataset = prepare(root, val_share=0.2)
    train, val = labels_by_name(dataset, "train"), labels_by_name(dataset, "val")
    assert (len(train), len(val)) == (16, 4) and not train.keys() & val.keys()
    assert train | val == {name: int(name) % 3 for name in names(20)}
    assert "val: 4 of the 20 images of train" in dataset.summary.notes[0]
    keys = {Folder(root, val_share=share).key for share in (0.0, 0.2, 0.3)}
    assert len(keys) == 3 and len({Folder(root, val_share=share).state for share in (0.0, 0.2, 0.3)}) == 1


def test_val_share_needs_no_folder_val_and_two_images(root):
    write_pair(root / "train", "000", 1)
    with pytest.raises(UserError, match="val_share needs at least two images in train"):
        Folder(root, val_share=0.1)
    for share in (-0.1, 1.0):
        with pytest.raises(UserError, match=f"val_share is {share}; it must be at least 0 and below 1"):
            Folder(root, val_share=share)
    write_pair(root / "val", "001", 1)
    folder = Folder(root, val_share=0.5)
    assert folder.key == Folder(root).key and "val is a folder, so" in folder.notes[0]


def test_what_is_set_aside_hardly_changes_when_pairs_are_added():
    def chosen(count, share=0.1):
        pairs = [Pair(pathlib.Path(), pathlib.Path(), name) for name in names(count)]
        kept, aside = set_aside(pairs, share)
        assert sorted(pair.name for pair in kept + aside) == names(count)
        return {pair.name for pair in aside}

    assert len(chosen(300)) == 30 and len(chosen(2, 0.9)) == 1 and len(chosen(5, 0.01)) == 1
    assert chosen(300) == chosen(300)
    assert len(chosen(300) & chosen(303)) >= 27  # three new names replace three at most


def test_images_alone(tmp_path):
    for name in ("b", "a/c", "a/.hidden"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    photos = tmp_path / "photos"
    assert find_images(photos, "val") == {"a/c": photos / "a/c.png", "b": photos / "b.png"}
    photos.rename(tmp_path / "images")
    (tmp_path / "test").mkdir()
    (tmp_path / "images").rename(tmp_path / "test/images")
    assert list(find_images(tmp_path, "test").values()) == [
        tmp_path / "test/images/a/c.png",
        tmp_path / "test/images/b.png",
    ]
    assert find_images(tmp_path, "val") == {}  # the images of another split are not those that were asked for
    assert find_images(tmp_path / "nowhere", "test") == {}
    (tmp_path / "test/masks").mkdir()
    (tmp_path / "test/masks/0.png").write_bytes(b"")
    assert find_images(tmp_path, "test") == {}  # what has labels is prepared
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has no image files; add some"):
        find_images(tmp_path / "empty", "val")


def test_an_unreadable_folder_is_named(root, monkeypatch):
    write_pair(root / "train", "a/000", 1)

    def scandir(folder):
        if folder.name == "a":
            raise PermissionError(13, "Permission denied")
        return os.scandir(folder)

    monkeypatch.setattr(layout, "os", types.SimpleNamespace(path=os.path, scandir=scandir))
    with pytest.raises(UserError, match=r"images/a cannot be read \(Permission denied\); make it readable"):
        find_layout(root)


def test_lapa_reads_nested_folders_with_their_landmarks(tmp_path):
    write_pair(tmp_path / "train", "a/000", 1)
    (tmp_path / "train/landmarks/a").mkdir(parents=True)
    (tmp_path / "train/landmarks/a/000.txt").write_text("106\n" + "1 2\n" * 106)
    data = LaPa(tmp_path)
    example = data.example(data.items("train")[0])
    assert example.name == "a/000" and (example.features["landmarks"] == [1, 2]).all() and not example.remark
