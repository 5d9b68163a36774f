"""Which files a command line names, and that their results get different names."""

import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.inputs import list_inputs


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.jpg", "a/1.png", "a/2.PNG", "a/clip.mp4", "a/notes.txt", "b/1.jpg", "b/c/3.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(*paths):
    return [name for name, _ in list_inputs([str(path) for path in paths])]


def test_folders_files_and_patterns(folder):
    assert names(folder / "a") == ["1.jpg", "1.png", "2", "clip"]
    assert names(folder / "a/1.jpg", folder / "a/2.PNG") == ["1", "2"]
    assert names(folder / "b/**/*.*") == ["1", "3"]
    assert names(folder / "a/1.jpg", folder / "a/../a/1.jpg") == ["1"]


def test_files_that_share_a_name_get_different_ones(folder):
    found = names(folder / "a", folder / "b")
    assert len(set(found)) == len(found) == 5 and found[1:4] == ["1.png", "2", "clip"]
    assert found[0].endswith("_a_1.jpg") and found[4].endswith("_b_1.jpg")


def test_missing_inputs_are_named(folder):
    (folder / "empty").mkdir()
    for path in ("a/9.jpg", "a/*.gif", "empty", "b/*"):
        if path == "b/*":
            assert names(folder / path) == ["1"]  # folders that match are skipped
            continue
        with pytest.raises(UserError, match=path.replace("*", r"\*")):
            names(folder / path)
