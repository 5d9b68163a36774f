"""Files in, files out: what is written for images and videos, and what is reported about the others."""

import dataclasses
import json
import types
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import Detection, FaceCrop, ParsedFace
from dmlcsr_jax.inference.inputs import list_inputs
from dmlcsr_jax.inference.predict import FORMS, Options, predict
from dmlcsr_jax.inference.video.reading import Frame
from dmlcsr_jax.inference.video.writing import VideoWriter
from tests.inference.clips import drawn, packets_of, times_of, write_clip

SPEC = get_spec("celebamask_hq")


def parse(images):
    """Stands in for a network: red pixels are hair, and an image without any has no face."""
    for image in images:
        labels = np.where(image[..., 0] > 128, SPEC.class_id("hair"), 0).astype(np.uint8)
        crops = (FaceCrop(None, np.eye(2, 3), labels),) if labels.any() else ()
        yield ParsedFace(image, labels, SPEC, crops)


@pytest.fixture
def parser():
    calls = []

    def call(images, boxes=()):
        calls.append(len(images))
        found = list(parse(images))
        for own, face in zip(boxes, found, strict=False):
            crops = tuple(FaceCrop(Detection(box), np.eye(2, 3), face.labels) for box in own)
            yield dataclasses.replace(face, crops=crops)
        yield from found[len(boxes) :]

    parser = types.SimpleNamespace(spec=SPEC, batch_size=3, calls=calls)
    return type("Parser", (types.SimpleNamespace,), {"__call__": staticmethod(call)})(**vars(parser))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    half = np.zeros((40, 60, 3), np.uint8)
    half[:, 30:] = (0, 0, 255)  # BGR
    for name in ("a.png", "b.jpg", "c.webp", "d.png"):
        cv2.imwrite(str(folder / name), half)
    cv2.imwrite(str(folder / "empty.png"), np.zeros((30, 30, 3), np.uint8))
    (folder / "broken.jpg").write_text("not an image")
    (folder / "broken.mp4").write_text("not a video")
    with VideoWriter(folder / "clip.mp4", time_base=Fraction(1, 10), rate=Fraction(10)) as writer:
        for index in range(7):
            writer.write(Frame(half[..., ::-1], Fraction(index, 10)))
    return folder


def test_everything_is_written_and_skipped_files_are_named(parser, folder, tmp_path, capsys):
    output = tmp_path / "out"
    with pytest.raises(UserError, match=r"^2 of 8 files were skipped: .*broken\.jpg cannot.*; .*broken\.mp4 cannot"):
        predict(parser, list_inputs([str(folder)]), output=output, options=Options(write=FORMS, smooth=3))
    printed = " ".join(capsys.readouterr().out.split())
    assert "parsed: 6 of 8" in printed and "no face found, no labels or overlay: empty" in printed
    written = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    images = {f"{name}{suffix}" for name in "abcd" for suffix in (".png", "_overlay.jpg")}
    frames = {f"clip/{index:06d}.png" for index in range(7)}
    assert written == images | frames | {"clip_overlay.mp4", "sheet_1.jpg", "predictions.json"}
    assert sorted(parser.calls) == [1, 2, 3, 3, 3]  # three, and what is left; the video's in threes as well
    with Image.open(output / "a.png") as labels:
        assert labels.mode == "P" and set(np.unique(labels)) == {0, SPEC.class_id("hair")}
    found = json.loads((output / "predictions.json").read_text())
    assert found["classes"] == list(SPEC.class_names)
    assert [entry["name"] for entry in found["pictures"]] == ["a", "b", "c", "d", "empty"]
    assert found["pictures"][0]["parts"]["hair"] == {"pixels": 1200, "share": 0.5, "box": [30, 0, 60, 40]}
    assert found["pictures"][4]["faces"] == []
    (video,) = found["videos"]
    assert video["rate"] == 10 and [frame["time"] for frame in video["frames"]] == [i / 10 for i in range(7)]


def test_only_what_was_asked_for_is_written_in_the_classes_asked_for(parser, folder, tmp_path):
    predict(
        parser, list_inputs([str(folder / "a.png")]), output=tmp_path / "out", options=Options(["labels"], remap="lapa")
    )
    (file,) = (tmp_path / "out").iterdir()
    with Image.open(file) as labels:
        assert set(np.unique(labels)) == {0, get_spec("lapa").class_id("hair")}


def test_large_images_do_not_wait_for_each_other(parser, tmp_path):
    large = np.full((4100, 4100, 3), 255, np.uint8)
    predict(parser, [("x", large), ("y", large)], output=tmp_path / "out", options=Options(["json"]))
    assert parser.calls == [1, 1]


def test_the_images_own_folder_is_not_written_into(parser, folder):
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match="own folder"):
        predict(parser, list_inputs([str(folder)]), output=folder, options=Options())
    assert sorted(folder.iterdir()) == before


def test_boxes_are_the_faces_of_one_image(parser, folder, tmp_path):
    image, other = folder / "a.png", folder / "d.png"
    options = Options(("json",), boxes=((2, 2, 20, 20), (30, 10, 50, 40)))
    predict(parser, [("face", image)], output=tmp_path / "out", options=options)
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]
    assert sorted(face["box"] for face in entry["faces"]) == [[2, 2, 20, 20], [30, 10, 50, 40]]
    with pytest.raises(UserError, match="--boxes are the faces of one image, but 2"):
        predict(parser, [("a", image), ("b", other)], output=tmp_path / "two", options=options)


def test_a_folder_that_cannot_be_written_is_named(parser, folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--output="):
        predict(parser, list_inputs([str(folder / "a.png")]), output=tmp_path / "file", options=Options())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"write": ["masks"]}, "masks"), ({"write": []}, "write"), ({"smooth": 2}, "smooth=2"), ({"remap": "x"}, "lapa")],
)
def test_wrong_options_name_the_right_ones(options, words):
    with pytest.raises(UserError, match=words):
        Options(**options)


def test_twenty_images_per_sheet(parser, tmp_path):
    image = np.full((30, 20, 3), 255, np.uint8)
    predict(parser, [(f"{i}", image) for i in range(23)], output=tmp_path, options=Options(["sheet"]))
    sizes = [cv2.imread(str(tmp_path / f"sheet_{number}.jpg")).shape for number in (1, 2)]
    assert sizes == [(4 * 260, 5 * 240, 3), (260, 3 * 240, 3)]


def test_images_too_long_for_a_jpeg_are_named(parser, tmp_path):
    long = np.full((2, 70000, 3), 255, np.uint8)
    with pytest.raises(UserError, match=r"1 of 2 files were skipped: .*long_overlay\.jpg.*65500"):
        predict(parser, [("long", long), ("short", long[:, :9])], output=tmp_path, options=Options())
    assert {path.name for path in tmp_path.iterdir()} == {"long.png", "short.png", "short_overlay.jpg"}


def test_a_video_keeps_its_times_and_its_sound(parser, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [0, 40, 41, 500, 2400], sound="aac")
    predict(parser, [("clip", path)], output=tmp_path / "out", options=Options(FORMS, smooth=3))
    overlay = tmp_path / "out" / "clip_overlay.mp4"
    assert times_of(overlay) == times_of(path)
    assert packets_of(overlay) == packets_of(path)
    (video,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["videos"]
    assert [frame["time"] for frame in video["frames"]] == [0, 0.04, 0.041, 0.5, 2.4]


def test_a_shorter_film_of_the_same_name_leaves_no_old_frames(parser, tmp_path):
    output = tmp_path / "out"
    for count in (9, 4):
        path = write_clip(tmp_path / "clip.mp4", range(0, 40 * count, 40))
        predict(parser, [("clip", path)], output=output, options=Options(["labels", "overlays"]))
        (output / "clip" / "notes.png").touch()  # the user's own
    assert sorted(file.name for file in (output / "clip").iterdir()) == [
        *(f"{i:06d}.png" for i in range(4)),
        "notes.png",
    ]
    assert len(times_of(output / "clip_overlay.mp4")) == 4


def test_a_film_that_ends_early_is_named_and_its_frames_are_kept(parser, tmp_path):
    settings = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}
    path = write_clip(tmp_path / "clip.mkv", range(0, 800, 40), image=lambda _: drawn(3), **settings)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"clip\.mkv is incomplete after frame \d+; what was read is kept") as caught:
        predict(parser, [("clip", path)], output=tmp_path / "out", options=Options(["labels", "overlays", "json"]))
    count = int(str(caught.value).split("after frame ")[1].split(";")[0])
    assert 0 < count < 20 and len(list((tmp_path / "out" / "clip").iterdir())) == count
    assert len(times_of(tmp_path / "out" / "clip_overlay.mp4")) == count
    (video,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["videos"]
    assert len(video["frames"]) == count
