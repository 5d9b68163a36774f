"""What the modes say of a user's data."""

import types

import jax
import numpy as np
import pytest

from configs import folder as recipe
from dmlcsr_jax import modes
from dmlcsr_jax.datasets.images import encode_image, encode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError


def write_faces(root, values, names=("background", "l_eye", "r_eye"), splits=("train", "val")):
    for split in splits:
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for i, value in enumerate(values):
            (root / split / "images" / f"{i}.png").write_bytes(encode_image(np.full((8, 8, 3), i, np.uint8)))
            (root / split / "labels" / f"{i}.png").write_bytes(encode_label(np.full((8, 8), value, np.uint8)))
    (root / "label_names.txt").write_text("\n".join(names))
    return root


def config(tmp_path, **dataset):
    read = recipe.get_config("debug")
    read.dataset.update(path=str(tmp_path / "faces"), data_dir=str(tmp_path / "prepared"), **dataset)
    return read


def output(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_prepare_says_what_is_mirrored_what_is_missing_and_where_the_copy_is(tmp_path, capsys):
    write_faces(tmp_path / "faces", [0, 1], ("background", "EyeLeft", "EyeRight", "left_brow", "[hat]"))
    modes.prepare(config(tmp_path))
    said = output(capsys)
    assert "change places when mirrored: EyeLeft and EyeRight" in said
    absent = "EyeRight, left_brow, [hat]"
    pixels = f"warning: classes without a pixel: {absent} in train; {absent} in val; "
    sides = "warning: left or right without a partner: left_brow; mirrored images keep these classes: list pairs in "
    assert said.count(pixels) == said.count(sides) == 2  # when it is found, and at the end
    assert "2 warnings in this run:" in said and "flip_pairs.txt" in said and "config.input.flip_probability=0" in said
    (copy,) = (tmp_path / "prepared/folder").iterdir()
    assert f"prepared copy: {copy}/1.1.0, " in said and "--mode=prepare --clean removes it" in said


def test_sides_do_not_matter_without_mirroring(tmp_path, capsys):
    write_faces(tmp_path / "faces", [0, 1], ("background", "left_eye"))
    still = config(tmp_path)
    still.input.flip_probability = 0.0
    modes.prepare(still)
    said = output(capsys)
    assert "mirrored" not in said and "warning" not in said


def test_pairs_that_flip_pairs_lacks_are_named(tmp_path, capsys):
    faces = write_faces(tmp_path / "faces", [0, 1, 2, 3], ("background", "l_eye", "r_eye", "beard"))
    (faces / "flip_pairs.txt").write_text("")
    modes.prepare(config(tmp_path))
    said = output(capsys)
    assert "no classes change places when mirrored" in said
    assert "warning: flip_pairs.txt lacks l_eye and r_eye; mirrored images keep these classes" in said


def test_clean_removes_the_copy_and_nothing_else(tmp_path, capsys):
    write_faces(tmp_path / "faces", [0, 1])
    modes.prepare(config(tmp_path))
    before = sorted((tmp_path / "faces").rglob("*"))
    modes.prepare(config(tmp_path), clean=True)
    assert f"removed: {tmp_path}/prepared/folder/faces_" in output(capsys)
    assert not list((tmp_path / "prepared/folder").iterdir()) and sorted((tmp_path / "faces").rglob("*")) == before


@pytest.mark.parametrize(
    ("values", "message"),
    [([0, 255], "255 is ignored; write 1"), ([1, 1], "no class but l_eye has pixels in train")],
)
def test_training_stops_before_it_begins(tmp_path, values, message):
    write_faces(tmp_path / "faces", values)
    with pytest.raises(UserError, match=message):
        modes.train(config(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run/checkpoints").exists()


def test_training_without_val_names_the_field(tmp_path):
    write_faces(tmp_path / "faces", [0, 1, 2] * 3, splits=("train",))
    with pytest.raises(UserError, match=r"no split 'val'; it has train: .*--config.dataset.folder.val_share=0.1"):
        modes.train(config(tmp_path), tmp_path / "run")


def test_training_sets_val_aside_and_says_what_is_mirrored(tmp_path, capsys, monkeypatch):
    write_faces(tmp_path / "faces", [0, 1, 1, 1], splits=("train",))
    monkeypatch.setattr(modes.loop, "train", lambda *_: print("TRAINED"))
    monkeypatch.setattr(modes, "plot_curves", lambda workdir: workdir)
    settings = config(tmp_path, folder={"val_share": 0.25})
    settings.training.batch_size = jax.device_count()
    write_faces(tmp_path / "more", [2] * 8, splits=("train",))
    for kind in ("images", "labels"):
        (tmp_path / "more/train" / kind).rename(tmp_path / "faces/train" / kind / "more")
    modes.train(settings, tmp_path / "run")
    before, after = output(capsys).split("TRAINED")
    assert "data set folder: 9 train, 3 val" in before and "change places when mirrored: l_eye and r_eye" in before
    assert before.count("warning: classes without a pixel: ") == after.count("warning: classes without a pixel: ") == 1
    modes.prepare(settings)
    assert "val: 3 of the 12 images of train, set aside by config.dataset.folder.val_share=0.25" in output(capsys)


def test_evaluation_warns_and_goes_on(tmp_path, capsys, monkeypatch):
    write_faces(tmp_path / "faces", [0, 255], ("background", "face"), splits=("test",))
    settings = config(tmp_path)
    settings.evaluation.split = "test"
    metadata = types.SimpleNamespace(spec=FaceSpec("mine", ("background", "face")))

    def score(*_, **__):
        raise UserError("scored")

    monkeypatch.setattr(modes.checkpoints, "choose_weights", lambda _: "student")
    monkeypatch.setattr(modes.checkpoints, "load", lambda *_: ({}, metadata))
    monkeypatch.setattr(modes, "create_evaluator", lambda *_: score)
    with pytest.raises(UserError, match=r"^scored$"):
        modes.evaluate(settings, tmp_path / "run", tmp_path / "out")
    said = output(capsys)
    assert "face in test (the label maps have only 0 and 255: 255 is ignored; write 1)" in said


def test_predict_takes_images_without_labels(tmp_path, capsys):
    for i in range(10):
        path = tmp_path / "faces" / "images" / "a" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(np.full((8, 8, 3), i, np.uint8)))
    images = modes.example_images(config(tmp_path))
    assert [name for name, _ in images] == [f"a_{i}" for i in range(8)] and images[0][1].name == "0.png"
    assert "parsing 8 of the 10 images in" in output(capsys)
