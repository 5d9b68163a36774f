"""Scoring label maps that another program wrote."""

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets.images import encode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation.label_maps import score_label_maps

SPEC = FaceSpec("own", ("background", "skin", "hair"))
LABELS = {
    "a": np.array([[0, 1, 1], [2, 2, 255]], np.uint8),
    "more/b": np.array([[1, 1], [0, 2]], np.uint8),
}
SOURCE = [{"image": b"", "label": encode_label(label), "name": name} for name, label in LABELS.items()]


@pytest.fixture
def folder(tmp_path):
    for name, label in LABELS.items():
        write(tmp_path / f"{name}.png", np.where(label == 255, 0, label))
    return tmp_path


def write(path, labels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def test_equal_label_maps_score_one(folder):
    seen = []
    result = score_label_maps(folder, SOURCE, SPEC, observe=lambda index, *_: seen.append(index))
    assert result["mean_f1"] == result["miou"] == result["pixel_accuracy"] == 1 and seen == [0, 1]


def test_wrong_pixels_are_counted_over_all_images(folder):
    write(folder / "a.png", np.array([[0, 1, 2], [2, 2, 1]]))  # one wrong pixel, one ignored
    result = score_label_maps(folder, SOURCE, SPEC)
    assert result["pixel_accuracy"] == pytest.approx(8 / 9)
    assert result["f1"]["skin"] == pytest.approx(2 * 3 / (4 + 3)) and result["f1"]["hair"] == pytest.approx(6 / 7)


def test_a_palette_image_is_read_by_its_indices(folder):
    image = Image.fromarray(np.where(LABELS["a"] == 255, 0, LABELS["a"]), "P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(folder / "a.png")
    assert score_label_maps(folder, SOURCE, SPEC)["pixel_accuracy"] == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((3, 2)), "a.png is 2x3, the label 3x2"),
        (np.full((2, 3), 3), "a.png has value 3; 3 classes allow 0 to 2"),
    ],
)
def test_label_maps_that_do_not_fit_are_named(folder, labels, words):
    write(folder / "a.png", labels)
    with pytest.raises(UserError, match=words):
        score_label_maps(folder, SOURCE, SPEC)


def test_missing_label_maps_are_named(folder, tmp_path):
    (folder / "more" / "b.png").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of 2 label maps, the first: more/b\.png"):
        score_label_maps(folder, SOURCE, SPEC)
    with pytest.raises(UserError, match="is not a folder"):
        score_label_maps(tmp_path / "nowhere", SOURCE, SPEC)


def test_other_files_are_counted(folder, capsys):
    write(folder / "c.png", np.zeros((2, 2)))
    score_label_maps(folder, SOURCE, SPEC)
    assert "1 other PNG files" in capsys.readouterr().out
