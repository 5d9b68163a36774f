"""Prepared copies: one per source, none that is in use is removed, and none of another source."""

import os
import pathlib
import shutil
import threading

import numpy as np
import pytest

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DatasetSettings, copies
from dmlcsr_jax.datasets.images import encode_image, encode_label
from dmlcsr_jax.errors import UserError


def write_faces(root: pathlib.Path, count: int = 3) -> pathlib.Path:
    for kind in ("images", "labels"):
        (root / "train" / kind).mkdir(parents=True)
    for i in range(count):
        (root / "train/images" / f"{i}.png").write_bytes(encode_image(np.full((4, 6, 3), i, np.uint8)))
        (root / "train/labels" / f"{i}.png").write_bytes(encode_label(np.full((4, 6), i % 2, np.uint8)))
    (root / "label_names.txt").write_text("background\nskin\n")
    return root


@pytest.fixture
def root(tmp_path):
    return write_faces(tmp_path / "faces")


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "prepared"


def settings(root, data_dir, *, val_share=0.0, **fields):
    return DatasetSettings("folder", path=str(root), data_dir=str(data_dir), options={"val_share": val_share}, **fields)


def prepare(root, data_dir, **fields):
    return datasets.prepare(settings(root, data_dir, **fields))


def folders(data_dir):
    """The copies, whole or not."""
    return sorted(path.name for path in (data_dir / "folder").iterdir())


def copy_of(dataset):
    return pathlib.Path(dataset.directory).parent.name


def touch(root):
    """Makes a label map one second newer than it was."""
    label = root / "train/labels/0.png"
    newer = label.stat().st_mtime_ns + 10**9
    os.utime(label, ns=(newer, newer))


def test_a_new_copy_replaces_the_older_ones(root, data_dir, capsys):
    first = copy_of(prepare(root, data_dir))
    for _ in range(3):
        touch(root)
        last = copy_of(prepare(root, data_dir))
        assert folders(data_dir) == [last]
    assert last != first and f"older copy removed: {data_dir / 'folder' / first}, " in capsys.readouterr().out


def test_copies_are_kept_if_asked(root, data_dir):
    for _ in range(3):
        touch(root)
        prepare(root, data_dir, keep_copies=True)
    assert len(folders(data_dir)) == 3


@pytest.mark.parametrize("hold", [lambda dataset: dataset, lambda dataset: dataset.source("train")])
def test_a_copy_that_is_read_is_kept(root, data_dir, capsys, hold):
    reader = hold(prepare(root, data_dir))
    old = folders(data_dir)
    touch(root)
    new = prepare(root, data_dir)
    assert folders(data_dir) == sorted([*old, copy_of(new)])
    assert f"older copy kept: {data_dir / 'folder' / old[0]}, which a process uses" in capsys.readouterr().out
    assert len(reader.source("train") if hasattr(reader, "source") else reader) == 3
    del reader
    touch(root)
    assert folders(data_dir) == sorted([*old, copy_of(new)])
    del new
    assert [copy_of(prepare(root, data_dir))] == folders(data_dir)  # the next preparation removes them


def test_a_folder_of_the_same_name_keeps_its_copy(root, data_dir, tmp_path):
    other = write_faces(tmp_path / "elsewhere" / "faces", 2)
    kept = copy_of(prepare(other, data_dir))
    for _ in range(2):
        touch(root)
        mine = copy_of(prepare(root, data_dir))
    assert folders(data_dir) == sorted([kept, mine])


def test_equal_folders_share_a_copy_that_stays_for_either(root, data_dir, tmp_path):
    shutil.copytree(root, tmp_path / "elsewhere" / "faces")
    shared = copy_of(prepare(root, data_dir))
    assert copy_of(prepare(tmp_path / "elsewhere/faces", data_dir)) == shared
    touch(root)
    mine = copy_of(prepare(root, data_dir))
    assert folders(data_dir) == sorted([shared, mine])
    touch(tmp_path / "elsewhere/faces")
    touch(tmp_path / "elsewhere/faces")
    other = copy_of(prepare(tmp_path / "elsewhere/faces", data_dir))
    assert folders(data_dir) == sorted([other, mine])


def test_a_link_is_the_folder_that_it_leads_to(root, data_dir, tmp_path):
    (tmp_path / "linked").symlink_to(root)
    prepare(root, data_dir)
    touch(root)
    assert [copy_of(prepare(tmp_path / "linked", data_dir))] == folders(data_dir)


def test_two_options_of_the_same_files_keep_their_copies_until_the_files_change(root, data_dir):
    for _ in range(2):
        both = sorted(copy_of(prepare(root, data_dir, val_share=share)) for share in (0.0, 0.5))
        assert folders(data_dir) == both
    touch(root)
    assert [copy_of(prepare(root, data_dir, val_share=0.5))] == folders(data_dir)


def test_other_class_names_make_a_copy_out_of_date(root, data_dir):
    prepare(root, data_dir)
    (root / "label_names.txt").write_text("background\nhair\n")
    assert [copy_of(prepare(root, data_dir, val_share=0.5))] == folders(data_dir)


def test_the_older_copy_stays_until_the_new_one_is_complete(root, data_dir):
    old = copy_of(prepare(root, data_dir))
    whole = (root / "train/labels/0.png").read_bytes()
    (root / "train/labels/0.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be decoded"):
        prepare(root, data_dir)
    assert old in folders(data_dir)
    (root / "train/labels/0.png").write_bytes(whole)
    os.utime(root / "train/labels/0.png", (1, 1))
    assert [copy_of(prepare(root, data_dir))] == folders(data_dir)  # nothing is left of the failure either


def test_a_copy_of_unknown_origin_is_not_removed(root, data_dir):
    old = copy_of(prepare(root, data_dir))
    (data_dir / "folder" / old / "source.json").unlink()
    touch(root)
    new = copy_of(prepare(root, data_dir))
    assert folders(data_dir) == sorted([old, new])


def test_a_copy_of_unknown_origin_belongs_to_the_first_that_opens_it(root, data_dir):
    old = copy_of(prepare(root, data_dir))
    (data_dir / "folder" / old / "source.json").unlink()
    prepare(root, data_dir)
    touch(root)
    assert [copy_of(prepare(root, data_dir))] == folders(data_dir)


def test_remove_copies(root, data_dir, tmp_path):
    other = write_faces(tmp_path / "elsewhere" / "faces", 2)
    kept = copy_of(prepare(other, data_dir))
    mine = [copy_of(prepare(root, data_dir, val_share=share)) for share in (0.0, 0.5)]
    lines = datasets.remove_copies(settings(root, data_dir))
    assert [line.partition(", ")[0] for line in lines] == sorted(f"removed: {data_dir}/folder/{name}" for name in mine)
    assert folders(data_dir) == [kept] and len(list(root.rglob("*.png"))) == 6
    assert datasets.remove_copies(settings(root, data_dir)) == [f"no prepared copy in {data_dir}/folder"]
    reader = prepare(root, data_dir)
    (line,) = datasets.remove_copies(settings(root, data_dir))
    assert line.startswith("kept: ") and line.endswith("which a process uses")
    del reader
    shutil.rmtree(root)  # the copy of a folder that is gone is found by its path
    assert len(datasets.remove_copies(settings(root, data_dir))) == 1 and folders(data_dir) == [kept]
    with pytest.raises(UserError, match=r"config\.dataset\.path is empty"):
        datasets.remove_copies(DatasetSettings("folder", data_dir=str(data_dir)))


def test_remove_copies_of_a_data_set_without_files(data_dir):
    drawn = DatasetSettings("synthetic", data_dir=str(data_dir), options={"train": 2, "size": 32})
    directory = pathlib.Path(datasets.prepare(drawn).directory)
    (line,) = datasets.remove_copies(drawn)
    assert line.startswith(f"removed: {directory.parent}, ") and not directory.parent.exists()


def test_a_copy_that_was_removed_while_one_opens_it_is_prepared_again(root, data_dir, monkeypatch):
    dataset = prepare(root, data_dir)
    directory = pathlib.Path(dataset.directory)
    del dataset
    locking = copies.reading

    def remove_first(opened):
        monkeypatch.setattr(copies, "reading", locking)
        copies.remove(directory.parent, "")
        return locking(opened)

    (directory.parent / "source.json").unlink()
    monkeypatch.setattr(copies, "reading", remove_first)
    assert len(prepare(root, data_dir).source("train")) == 3


def test_who_waits_for_a_copy_that_is_removed_locks_the_new_one(tmp_path):
    copy, order = tmp_path / "copy", []

    def wait():
        with copies.preparing(copy):
            order.append("waited")
            assert (copy / ".lock").exists()

    with copies.preparing(copy):
        thread = threading.Thread(target=wait)
        thread.start()
        order.append("removed")
        shutil.rmtree(copy)
    thread.join()
    assert order == ["removed", "waited"] and (copy / ".lock").exists()


def test_only_one_process_prepares(tmp_path):
    first, second = copies.preparing(tmp_path / "copy"), copies.preparing(tmp_path / "copy", wait=False)
    with first, pytest.raises(BlockingIOError):
        second.__enter__()


@pytest.mark.parametrize(("size", "text"), [(300, "0.3 kB"), (2_500_000, "2.5 MB"), (3_200_000_000, "3.2 GB")])
def test_sizes(tmp_path, size, text):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    assert copies.size_text(tmp_path) == text
