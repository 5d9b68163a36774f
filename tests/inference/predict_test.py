"""Files in, files out: what is written for images and videos, and what is reported about the others."""

import dataclasses
import json
import os
import pathlib
import threading
import time
import types
import weakref
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import Detection, FaceCrop, ParsedFace, photos
from dmlcsr_jax.inference.inputs import list_inputs
from dmlcsr_jax.inference.options import FORMS, Options
from dmlcsr_jax.inference.predict import predict
from dmlcsr_jax.inference.video.reading import Frame
from dmlcsr_jax.inference.video.writing import VideoWriter
from tests.inference.clips import drawn, packets_of, times_of, write_clip

SPEC = get_spec("celebamask_hq")


def parse(images):
    """Stands in for a network: red pixels are hair, and an image without any has no face."""
    for image in images:
        labels = np.where(image[..., 0] > 128, SPEC.class_id("hair"), 0).astype(np.uint8)
        crops = (FaceCrop(None, np.eye(2, 3), labels),) if labels.any() else ()
        onehot = np.eye(SPEC.num_classes, dtype=np.float32)[labels]
        soft = cv2.GaussianBlur(onehot.reshape(*labels.shape, -1)[..., [0, SPEC.class_id("hair")]], (0, 0), 2)
        onehot[..., [0, SPEC.class_id("hair")]] = soft
        yield ParsedFace(image, labels, SPEC, crops, lambda weights, onehot=onehot: onehot @ weights)


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


def lines(output, name="predictions.jsonl"):
    return [json.loads(line) for line in (output / name).read_text().splitlines()]


def files(output):
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}


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
        predict(parser, list_inputs([str(folder)]).files, output=output, options=Options(write=FORMS, smooth=3))
    printed = " ".join(capsys.readouterr().out.split())
    assert "parsed: 6 of 8" in printed and "no face found, no labels or overlay: empty" in printed
    written = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    images = {f"{name}{suffix}" for name in "abcd" for suffix in (".png", "_overlay.jpg")}
    frames = {f"clip/{index:06d}.png" for index in range(7)}
    masks = {f"{name}_masks/{part}.png" for name in "abcd" for part in SPEC.class_names[1:]}
    masks |= {f"clip_masks/{part}/{index:06d}.png" for part in SPEC.class_names[1:] for index in range(7)}
    cutouts = {f"{name}_cutout.png" for name in "abcd"} | {f"clip_cutout/{index:06d}.png" for index in range(7)}
    together = {"clip_overlay.mp4", "sheet_1.jpg", "predictions.jsonl", "classes.json"}
    assert written == images | frames | masks | cutouts | together
    assert sorted(parser.calls) == [1, 2, 3, 3, 3]  # three, and what is left; the video's in threes as well
    with Image.open(output / "a.png") as labels:
        assert labels.mode == "P" and set(np.unique(labels)) == {0, SPEC.class_id("hair")}
    assert json.loads((output / "classes.json").read_text()) == {"classes": list(SPEC.class_names)}
    *photos, video = lines(output)
    assert [entry["name"] for entry in photos] == ["a", "b", "c", "d", "empty"]
    assert photos[0]["parts"]["hair"] == {"pixels": 1200, "share": 0.5, "box": [30, 0, 60, 40]}
    assert photos[0]["file"] == str(folder / "a.png") and photos[4]["faces"] == []
    assert video["name"] == "clip" and video["rate"] == 10
    assert [frame["time"] for frame in video["frames"]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_only_what_was_asked_for_is_written_in_the_classes_asked_for(parser, folder, tmp_path):
    predict(
        parser,
        list_inputs([str(folder / "a.png")]).files,
        output=tmp_path / "out",
        options=Options(["labels"], remap="lapa"),
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
        predict(parser, list_inputs([str(folder)]).files, output=folder, options=Options())
    assert sorted(folder.iterdir()) == before


def test_boxes_are_the_faces_of_one_image(parser, folder, tmp_path):
    image, other = folder / "a.png", folder / "d.png"
    options = Options(("json",), boxes=((2, 2, 20, 20), (30, 10, 50, 40)))
    predict(parser, [("face", image)], output=tmp_path / "out", options=options)
    (entry,) = lines(tmp_path / "out")
    assert sorted(face["box"] for face in entry["faces"]) == [[2, 2, 20, 20], [30, 10, 50, 40]]
    with pytest.raises(UserError, match="--boxes are the faces of one image, but 2"):
        predict(parser, [("a", image), ("b", other)], output=tmp_path / "two", options=options)


def test_a_folder_that_cannot_be_written_is_named(parser, folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--output="):
        predict(parser, list_inputs([str(folder / "a.png")]).files, output=tmp_path / "file", options=Options())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"write": ["mask"]}, "masks"),
        ({"write": []}, "write"),
        ({"smooth": 2}, "smooth=2"),
        ({"remap": "x"}, "lapa"),
        ({"parts": ["hair"]}, "--parts=hair .*add --write=masks or cutout"),
        ({"write": ["sheet"], "skip_existing": True}, "--skip_existing .*sheet"),
    ],
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


def half_red(height=40, width=60, red=255):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 0] = red
    return image


def test_masks_and_cutouts_are_of_the_parts_asked_for(parser, tmp_path):
    image = half_red()
    image[..., 2] = np.arange(60)
    options = Options(["masks", "cutout"], parts=["hair", "hat", "hair"])
    predict(parser, [("who/x", image)], output=tmp_path, options=options)
    assert set(files(tmp_path)) == {"who/x_masks/hair.png", "who/x_masks/hat.png", "who/x_cutout.png"}
    with Image.open(tmp_path / "who/x_masks/hair.png") as mask:
        assert mask.mode == "L"
        np.testing.assert_array_equal(mask, np.where(np.arange(60) >= 30, 255, 0) * np.ones((40, 1)))
    with Image.open(tmp_path / "who/x_masks/hat.png") as mask:
        assert mask.size == (60, 40) and not np.asarray(mask).any()
    with Image.open(tmp_path / "who/x_cutout.png") as cutout:
        assert cutout.mode == "RGBA"
        pixels = np.asarray(cutout)
    np.testing.assert_array_equal(pixels[..., :3], image)  # under full transparency, too
    row = pixels[20, :, 3].astype(int)
    assert row[10] == 0 and row[50] == 255 and (np.diff(row) >= 0).all()
    assert 0 < row[28] < row[29] < 128 < row[30] < row[31] < 255 and row[29] + row[30] == pytest.approx(255, abs=1)


def test_cutouts_are_of_all_but_the_background_and_of_remapped_parts(parser, tmp_path):
    predict(parser, [("x", half_red())], output=tmp_path / "all", options=Options(["cutout"]))
    options = Options(["cutout", "masks"], remap="lapa", parts=["hair"])
    predict(parser, [("x", half_red())], output=tmp_path / "lapa", options=options)
    assert files(tmp_path / "all")["x_cutout.png"] == files(tmp_path / "lapa")["x_cutout.png"]
    predict(parser, [("x", half_red())], output=tmp_path / "none", options=Options(["cutout"], parts=["skin"]))
    with Image.open(tmp_path / "none/x_cutout.png") as cutout:
        assert cutout.getextrema()[3] == (0, 0)


def test_an_unknown_part_is_named_before_anything_is_written(parser, tmp_path):
    for options in (Options(["masks"], parts=["hare"]), Options(["masks"], parts=["hat"], remap="lapa")):
        with pytest.raises(UserError, match=r"is not a part; choose background, .*hair"):
            predict(parser, [("x", half_red())], output=tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_folders_below_the_named_one_come_back(parser, folder, tmp_path):
    (folder / "deep").mkdir()
    for name in ("a.png", "a.jpg"):
        cv2.imwrite(str(folder / "deep" / name), half_red()[..., ::-1])
    (folder / "notes.txt").touch()
    for broken in folder.glob("broken*"):
        broken.unlink()
    listing = list_inputs([str(folder)])
    predict(parser, listing.files, output=tmp_path / "out", options=Options(["labels"]), left_out=listing.left_out)
    assert {"a.png", "deep/a.png.png", "deep/a.jpg.png"} < set(files(tmp_path / "out"))


def test_the_last_line_counts_what_was_left_out(parser, tmp_path, capsys):
    inputs, left_out = [("[bold]x", half_red())], {".txt": 3, ".heic": 1}
    predict(parser, inputs, output=tmp_path / ("long" * 30), options=Options(["labels"]), left_out=left_out)
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("parsed: 1 of 1; labels in ")
    assert last.endswith("neither image nor video: 1 .heic, 3 .txt; pip install 'dmlcsr_jax[heif]' reads HEIF")


def test_names_that_are_not_utf_8_or_too_long(parser, tmp_path, capsys):
    latin, long = os.fsdecode(b"caf\xe9"), "x" * 250
    inputs = [(latin, half_red()), (long, half_red()), ("empty" + latin, half_red(red=0))]
    with pytest.raises(UserError, match=r"1 of 3 files were skipped: .*too long; rename"):
        predict(parser, inputs, output=tmp_path / "out", options=Options(["labels", "overlays", "json"]))
    written = files(tmp_path / "out")
    assert {f"{latin}.png", f"{latin}_overlay.jpg", f"{long}.png", "predictions.jsonl"} < set(written)
    assert [entry["name"] for entry in lines(tmp_path / "out")] == [name for name, _ in inputs]
    assert "no face found, no labels or overlay: emptycaf" in capsys.readouterr().out


def test_results_are_in_order_and_few_images_are_decoded_ahead(parser, tmp_path, monkeypatch):
    """Slow decoding of some images changes no order, and the number of images in memory is bounded."""
    alive, most, lock = set(), [0], threading.Lock()

    def decode(source):
        image = half_red()
        with lock:
            alive.add(id(image))
            most[0] = max(most[0], len(alive))
        weakref.finalize(image, alive.discard, id(image))
        time.sleep(0.02 if int(source.stem) % 5 == 0 else 0)
        return image

    monkeypatch.setattr(photos, "as_array", decode)
    monkeypatch.setattr(photos, "usable_cores", lambda: 2)
    names = [f"{i}" for i in range(200)]
    inputs = [(name, pathlib.Path(f"{name}.jpg")) for name in names]
    predict(parser, inputs, output=tmp_path, options=Options(["json"]))
    assert [entry["name"] for entry in lines(tmp_path)] == names
    assert most[0] <= 40


def test_hosts_share_the_inputs(parser, tmp_path):
    inputs = [(f"{i}", half_red(40 + i)) for i in range(7)]
    for index in range(3):
        predict(parser, inputs, output=tmp_path, options=Options(FORMS), host=(index, 3))
    found = [lines(tmp_path, f"predictions-{i + 1:05d}-of-00003.jsonl") for i in range(3)]
    assert [[entry["name"] for entry in host] for host in found] == [["0", "3", "6"], ["1", "4"], ["2", "5"]]
    assert {f"{i}.png" for i in range(7)} < set(files(tmp_path))
    assert {f"sheet-{i + 1:05d}-of-00003_1.jpg" for i in range(3)} < set(files(tmp_path))


def test_a_video_keeps_its_times_and_its_sound(parser, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [0, 40, 41, 500, 2400], sound="aac")
    predict(parser, [("clip", path)], output=tmp_path / "out", options=Options(FORMS, smooth=3))
    overlay = tmp_path / "out" / "clip_overlay.mp4"
    assert times_of(overlay) == times_of(path)
    assert packets_of(overlay) == packets_of(path)
    (video,) = lines(tmp_path / "out")
    assert [frame["time"] for frame in video["frames"]] == [0, 0.04, 0.041, 0.5, 2.4]


def test_a_shorter_film_of_the_same_name_leaves_no_old_frames(parser, tmp_path):
    output = tmp_path / "out"
    for count in (9, 4):
        path = write_clip(tmp_path / "clip.mp4", range(0, 40 * count, 40))
        options = Options(["labels", "overlays", "masks"], parts=["hair"])
        predict(parser, [("clip", path)], output=output, options=options)
        (output / "clip" / "notes.png").touch()  # the user's own
    assert sorted(file.name for file in (output / "clip").iterdir()) == [
        *(f"{i:06d}.png" for i in range(4)),
        "notes.png",
    ]
    assert len(list((output / "clip_masks" / "hair").iterdir())) == 4
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
    (video,) = lines(tmp_path / "out")
    assert len(video["frames"]) == count and "incomplete after frame" in video["error"]
    options = Options(["labels", "overlays", "json"], skip_existing=True)
    with pytest.raises(UserError, match="incomplete after frame"):
        predict(parser, [("clip", path)], output=tmp_path / "out", options=options)
    assert len(lines(tmp_path / "out")) == 1
