"""The conditions of benchmarks.robustness keep images and labels together, and their scores are right."""

import json
import types

import numpy as np
import pytest

from benchmarks import photo_changes, robustness
from benchmarks.photo_changes import Condition, Pair
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.images import encode_image, encode_label
from dmlcsr_jax.inference import ParsedFace
from tests.shipped import write_exported

SPEC = get_spec("celebamask_hq")
SKIN, NOSE, LEFT_EYE, RIGHT_EYE = (SPEC.class_id(name) for name in ("skin", "nose", "l_eye", "r_eye"))


@pytest.fixture
def pair():
    """A face of rectangles; the red channel is 10 times the class number."""
    labels = np.zeros((60, 48), np.uint8)
    labels[12:50, 8:40] = SKIN
    labels[20:26, 12:20], labels[20:26, 28:36] = RIGHT_EYE, LEFT_EYE
    labels[30:40, 20:28] = NOSE
    return Pair(draw(labels), labels)


def draw(labels):
    return np.stack([10 * labels, 100 + 0 * labels, 200 + 0 * labels], axis=-1)


class RedParser:
    """Reads the class numbers from the red channel."""

    spec = SPEC

    def __call__(self, images):
        labels = [np.minimum(np.rint(image[..., 0] / 10), 18).astype(np.uint8) for image in images]
        return [
            ParsedFace(image, own, SPEC, crops=(None,) * 2)  # pyright: ignore[reportArgumentType]
            for image, own in zip(images, labels, strict=True)
        ]


def f1(condition, *pairs):
    result = robustness.measure(RedParser(), [lambda own=own: own for own in pairs], condition, batch_size=2)
    return result.scores["f1"]


def test_the_parser_of_these_tests_is_perfect_on_unchanged_images(pair):
    assert all(score in (None, 1.0) for score in f1(Condition(lambda pair: pair), pair, pair, pair).values())


@pytest.mark.parametrize("degrees", [30, -30])
def test_labels_turn_with_the_image_and_corners_are_ignored(pair, degrees):
    turned = photo_changes.turn(pair, degrees)
    assert turned.labels[0, 0] == turned.labels[-1, -1] == 255
    assert not turned.image[0, 0].any() and not turned.image[-1, -1].any()
    scores = f1(Condition(lambda pair: photo_changes.turn(pair, degrees)), pair)
    assert scores["skin"] > 0.9 and scores["nose"] > 0.7 and scores["l_eye"] > 0.6
    rows, _ = np.nonzero(turned.labels == LEFT_EYE)  # on the right of the image: up if counterclockwise
    others, _ = np.nonzero(turned.labels == RIGHT_EYE)
    assert (rows.mean() < others.mean()) == (degrees > 0)


def test_a_mirrored_face_has_its_left_eye_on_the_other_side_of_the_image(pair):
    mirrored = photo_changes.mirror(pair, spec=SPEC)
    assert np.array_equal(mirrored.labels, pair.labels)  # this face is symmetric
    assert np.array_equal(mirrored.image[:, ::-1], pair.image)


def test_an_ellipse_covers_the_stated_share_of_the_face(pair):
    covered = photo_changes.cover(pair, spec=SPEC, rng=np.random.default_rng(0))
    hidden = covered.labels == 255
    face = pair.labels > 0
    assert abs(hidden[face].mean() - 0.15) < 0.02
    assert (covered.image[hidden] == covered.image[hidden][0]).all()
    assert np.array_equal(covered.image[~hidden], pair.image[~hidden])
    assert np.array_equal(covered.covered[hidden], pair.labels[hidden]) and (covered.covered[~hidden] == 255).all()


def test_nothing_is_covered_without_a_face():
    empty = Pair(np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 255, np.uint8))
    assert photo_changes.cover(empty, spec=SPEC, rng=np.random.default_rng(0)) is empty


def test_what_covered_pixels_are_taken_for(pair):
    covered = np.full_like(pair.labels, 255)
    covered[0, :2], covered[12, 8:10], covered[30, 20:26] = NOSE, SKIN, SKIN  # seen as background, skin, and nose
    labels = np.where(covered == 255, pair.labels, 255)
    condition = Condition(lambda pair: pair._replace(labels=labels, covered=covered))
    result = robustness.measure(RedParser(), [lambda: pair], condition)
    assert result.covered == pytest.approx({"background": 0.2, "the part behind it": 0.2, "another part": 0.6})
    assert result.scores["f1"]["nose"] == result.scores["f1"]["skin"] == 1.0


def test_half_size_is_scored_at_full_size(pair):
    halved = photo_changes.halve(pair)
    assert halved.image.shape == (30, 24, 3) and halved.labels.shape == (60, 48)
    assert f1(Condition(photo_changes.halve), pair)["nose"] == 1.0  # its borders are even


def test_a_face_in_a_frame_is_surrounded_by_background(pair):
    framed = photo_changes.put_into_frame(pair, rng=np.random.default_rng(0))
    assert framed.image.shape == (180, 144, 3)
    assert np.array_equal(framed.labels[60:120, 24:72], pair.labels)
    assert np.count_nonzero(framed.labels) == np.count_nonzero(pair.labels)
    assert np.array_equal(framed.image[60:120, 24:72], pair.image)


def test_a_mosaic_ignores_what_no_image_covers(pair):
    small = Pair(pair.image[:40, :30], pair.labels[:40, :30])
    mosaic = photo_changes.mosaic(pair, small, pair)
    assert mosaic.labels.shape == (120, 96)
    assert np.array_equal(mosaic.labels[:40, 48:78], small.labels) and np.array_equal(
        mosaic.labels[60:, :48], pair.labels
    )
    assert (mosaic.labels[40:60, 48:] == 255).all() and (mosaic.labels[60:, 48:] == 255).all()
    scores = f1(Condition(photo_changes.mosaic, images=4), *[pair] * 5)
    assert scores["skin"] == 1.0


def test_light_and_compression_change_the_image_alone(pair):
    pair = Pair(*(np.repeat(np.repeat(array, 4, 0), 4, 1) for array in pair[:2]))
    for change in (photo_changes.to_gray, photo_changes.compress, photo_changes.darken, photo_changes.blur):
        changed = change(pair)
        assert changed.labels is pair.labels and changed.image.shape == pair.image.shape
        assert not np.array_equal(changed.image, pair.image), change
    assert np.ptp(photo_changes.to_gray(pair).image, axis=-1).max() == 0
    assert (photo_changes.darken(pair).image <= pair.image).all()


def test_found_faces_are_counted(pair):
    result = robustness.measure(RedParser(), [lambda: pair] * 3, Condition(photo_changes.mosaic, images=4))
    assert (result.found, result.faces) == (2, 3)  # RedParser finds two in every image


def test_rows_show_the_change_and_means_over_sides():
    def result(mean, eye):
        f1 = dict.fromkeys(SPEC.class_names) | {"l_eye": eye, "r_eye": 1.0, "nose": 0.5}
        return robustness.Result({"mean_f1": mean, "f1": f1}, found=3, faces=4, covered={})

    table = robustness.result_table({"clean": result(0.8, 0.5), "dark": result(0.75, None)}, SPEC, "title")
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["mean"] == ["80.0", "75.0"] and cells["change"] == ["+0.0", "-5.0"]
    assert cells["eyes"] == ["75.0", "100.0"] and cells["nose"] == ["50.0", "50.0"] and cells["skin"] == ["–", "–"]
    assert cells["found"] == ["3/4", "3/4"]


@pytest.fixture
def folder(tmp_path, pair):
    for split in ("train", "val"):
        for kind, data in (("images", encode_image(pair.image)), ("labels", encode_label(pair.labels))):
            (tmp_path / split / kind).mkdir(parents=True)
            (tmp_path / split / kind / "a.png").write_bytes(data)
    (tmp_path / "label_names.txt").write_text("\n".join(SPEC.class_names) + "\n")
    return tmp_path


def test_the_program_scores_a_folder(folder, tmp_path, monkeypatch, pair):
    loaded = []

    def load(workdir, **options):
        loaded.append((workdir, options["faces"]))
        return RedParser()

    monkeypatch.setattr(robustness, "FaceParser", types.SimpleNamespace(load=load))
    file = tmp_path / "scores.json"
    robustness.main([f"--data={folder}", "--workdir=w", f"--json={file}"])
    results = json.loads(file.read_text())
    assert list(results) == list(photo_changes.conditions(SPEC))
    assert results["clean"]["scores"]["mean_f1"] == 1.0
    mirrored = results["mirrored"]["scores"]["f1"]
    assert mirrored["nose"] == 1 and mirrored["l_eye"] == mirrored["r_eye"] == 0  # red knows nothing of sides
    assert results["dark"]["scores"]["f1"]["nose"] == 0  # the red channel has changed
    assert loaded == [("w", "whole"), ("w", "auto")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir=no/such"], "no/such"),
        (["--split=test"], "has no images in test/images"),
        (["--data=no/such"], "no/such"),
    ],
)
def test_mistakes_are_one_line(folder, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        robustness.main([f"--data={folder}", *flags])
    assert stop.value.code == 1
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1


def test_other_classes_are_refused(folder, tmp_path, capsys):
    write_exported(tmp_path / "exported")
    (folder / "label_names.txt").write_text("background\nface\n" + "\n".join(f"part {i}" for i in range(20)))
    with pytest.raises(SystemExit):
        robustness.main([f"--data={folder}", f"--workdir={tmp_path / 'exported'}"])
    assert "other classes" in capsys.readouterr().err
