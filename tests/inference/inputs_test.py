"""Which files a command line names, and that their results get different names."""

import os
import pathlib

import pytest
from PIL import Image

from dmlcsr_jax.datasets import formats
from dmlcsr_jax.datasets.formats import describe_endings
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.inputs import list_inputs


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def folder(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/1.png", "a/2.PNG", "a/clip.mp4", "a/notes.txt", "b/1.jpg", "b/c/3.webp")
    return tmp_path


def names(*paths, output=None):
    return [name for name, _ in list_inputs([str(path) for path in paths], output).files]


def test_folders_files_and_patterns(folder):
    assert names(folder / "a") == ["1.jpg", "1.png", "2", "clip"]
    assert names(folder / "b") == ["1", "c/3"]
    assert names(folder / "a/1.jpg", folder / "a/2.PNG") == ["1", "2"]
    assert names(folder / "b/**/*.*") == ["1", "c/3"]  # below what has no wildcards
    assert names(folder / "b/*/*.webp", folder / "b/c/3.webp") == ["c/3"]


def test_files_that_share_a_name_get_different_ones(folder):
    assert names(folder / "a", folder / "b") == ["1.jpg", "1.png", "2", "clip", "1.jpg-2", "c/3"]


def test_a_path_is_one_input_however_it_is_written(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names("a/1.jpg", "a/../a/1.jpg", "./a/1.jpg", folder / "a/1.jpg") == ["1"]
    assert names("a/1.jpg", "a") == ["1.jpg", "1.png", "2", "clip"]
    assert names("a", "a/1.jpg") == names("a")


def test_links_are_inputs_of_their_own_with_their_own_names(tmp_path):
    touch(tmp_path, "blobs/0f3a", "blobs/77")
    (tmp_path / "photos").mkdir()
    for link in ("anna.jpg", "bob.jpg"):
        (tmp_path / "photos" / link).symlink_to(tmp_path / "blobs/0f3a")
    (tmp_path / "photos/broken.jpg").symlink_to(tmp_path / "none")
    assert names(tmp_path / "photos") == ["anna", "bob", "broken"]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "photos/a/1.jpg", "other/2.jpg")
    (tmp_path / "photos/a/up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/more").symlink_to(tmp_path / "other")
    assert names(tmp_path / "photos") == ["a/1", "more/2"]


def test_a_parent_of_a_link_is_not_what_its_text_says(tmp_path):
    touch(tmp_path, "x.jpg", "elsewhere/x.jpg", "elsewhere/deep/y.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere/deep")
    found = list_inputs([str(tmp_path / "x.jpg"), str(tmp_path / "link" / ".." / "x.jpg")]).files
    assert len({file.resolve() for _, file in found}) == len(found) == 2


def test_hidden_files_and_the_results_themselves_are_not_read(folder):
    touch(folder, "a/._1.jpg", "a/.cache/4.jpg", "a/out/1.png", "a/sub/out/5.jpg")
    listing = list_inputs([str(folder / "a")], folder / "a/out")
    assert [name for name, _ in listing.files] == ["1.jpg", "1.png", "2", "clip", "sub/out/5"]
    assert listing.left_out == {".txt": 1}


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".jp2", ".ppm", ".tga", ".qoi", ".psd", ".mpo", ".dib", ".ico"])
def test_every_raster_format_is_taken(tmp_path, suffix):
    touch(tmp_path, f"photo{suffix}", "letter.pdf", "drawing.eps", "old.wmf", "numbers.h5", "weather.grib", "README")
    listing = list_inputs([str(tmp_path)])
    assert [file.name for _, file in listing.files] == [f"photo{suffix}"]
    left_out = {".eps": 1, ".grib": 1, ".h5": 1, ".pdf": 1, ".wmf": 1, "": 1}
    assert listing.left_out == left_out
    assert describe_endings(left_out) == "1 without an ending, 1 .eps, 1 .grib, 1 .h5, 1 .pdf, 1 .wmf"


@pytest.fixture
def no_heif(monkeypatch):
    """As if pillow-heif were not installed."""
    for function in (formats.image_suffixes, formats.register_heif):
        function.cache_clear()
    known = dict(Image.registered_extensions())
    monkeypatch.setattr(formats, "register_heif", lambda: False)
    monkeypatch.setattr(
        Image, "registered_extensions", lambda: {s: f for s, f in known.items() if s not in formats.HEIF_SUFFIXES}
    )
    yield
    formats.image_suffixes.cache_clear()


def test_heif_names_its_extra(folder, no_heif):
    touch(folder, "a/six.HEIC", "b/c/seven.heif")
    assert list_inputs([str(folder / "a")]).left_out == {".heic": 1, ".txt": 1}
    assert describe_endings({".heic": 2}) == "2 .heic; pip install 'dmlcsr_jax[heif]' reads HEIF"
    touch(folder, "only/1.heic")
    with pytest.raises(UserError, match=r"only has no images or videos, only 1 \.heic; pip install .*heif"):
        names(folder / "only")


def test_heif_is_taken_if_it_can_be_read(tmp_path):
    pytest.importorskip("pillow_heif")
    touch(tmp_path, "six.HEIC", "seven.heif")
    assert names(tmp_path) == ["seven", "six"]


def test_missing_inputs_are_named(folder):
    (folder / "empty").mkdir()
    assert names(folder / "b/*") == ["1"]  # folders that match are skipped
    for path in ("a/9.jpg", "a/*.gif", "empty"):
        with pytest.raises(UserError, match=path.replace("*", r"\*")):
            names(folder / path)


def test_names_do_not_leave_the_folder_of_results(folder, monkeypatch):
    touch(folder, "deep/er/x.jpg", "deep/...mp4")
    monkeypatch.chdir(folder / "deep/er")
    found = names("../../b", "..", "../er/x.jpg", str(folder / "a/1.jpg"), "../../*/*.PNG")
    assert "x.jpg" not in found and "er/x" in found
    for name in found:
        assert not pathlib.Path(name).is_absolute() and ".." not in pathlib.Path(name).parts
        assert os.path.normpath(name) == name
