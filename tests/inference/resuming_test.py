"""A call of predict that was stopped goes on, and ends as if it had never stopped."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_bytes
from dmlcsr_jax.inference import FaceCrop, ParsedFace
from dmlcsr_jax.inference.options import Options
from dmlcsr_jax.inference.predict import predict
from tests.inference.clips import write_clip

SPEC = get_spec("celebamask_hq")
FORMS = ("labels", "overlays", "masks", "json")


class Parser:
    """Finds skin in bright pixels, and no face where there are none."""

    spec, batch_size = SPEC, 2

    def __init__(self):
        self.parsed = 0

    def __call__(self, images):
        self.parsed += len(images)
        labels = [(image[..., 0] > 99).astype(np.uint8) for image in images]
        crops = [(FaceCrop(None, np.eye(2, 3), own),) if own.any() else () for own in labels]
        return [
            ParsedFace(image, *own) for image, *own in zip(images, labels, [SPEC] * len(images), crops, strict=True)
        ]


INPUTS = [(f"{i}", np.full((20, 30 + i, 3), 100 if i % 3 else 0, np.uint8)) for i in range(8)]  # 0, 3, 6 have no face


def run(output, inputs=INPUTS, **options):
    """The number of images parsed."""
    parser = Parser()
    predict(parser, inputs, output=output, options=Options(**{"write": FORMS, "skip_existing": True} | options))
    return parser.parsed


def files(output):
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    assert run(output) == 8
    return output


@pytest.fixture
def output(whole, tmp_path):
    return pathlib.Path(shutil.copytree(whole, tmp_path / "out"))


def in_any_order(found):
    return {name: sorted(data.splitlines()) if name.endswith(".jsonl") else data for name, data in found.items()}


def test_nothing_is_parsed_twice(output, whole, capsys):
    assert run(output) == 0 and files(output) == files(whole)
    assert "parsed: 0 of 8; labels, overlays, masks, json in" in capsys.readouterr().out
    assert run(output, skip_existing=False) == 8 and files(output) == files(whole)
    assert run(output, write=("labels", "json")) == 0
    assert run(output, write=("labels",)) == 3  # without predictions.jsonl nothing tells that there is no face


@pytest.mark.parametrize(
    ("missing", "parsed"),
    [(["4.png"], 1), (["1_overlay.jpg", "7_masks/hair.png"], 2), (["predictions.jsonl"], 8), (["classes.json"], 0)],
)
def test_what_is_missing_is_parsed_again(output, whole, missing, parsed):
    for name in missing:
        (output / name).unlink()
    assert run(output) == parsed
    assert in_any_order(files(output)) == in_any_order(files(whole))


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_cut_last_line_is_repaired(output, whole, cut):
    path = output / "predictions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:cut])
    assert run(output) == 3 and files(output) == files(whole)
    path.write_bytes(path.read_bytes()[:-1])  # whole but for its end
    assert run(output) == 1 and files(output) == files(whole)


def test_lines_of_other_inputs_stay(output):
    assert run(output, [("other", INPUTS[1][1])]) == 1
    names = [json.loads(line)["name"] for line in (output / "predictions.jsonl").read_text().splitlines()]
    assert names == [name for name, _ in INPUTS] + ["other"]
    assert run(output, [*INPUTS, ("other", INPUTS[1][1])]) == 0


def test_another_number_of_hosts_goes_on_too(output):
    parser, options = Parser(), Options(FORMS, skip_existing=True)
    more = [*INPUTS, ("8", INPUTS[1][1]), ("9", INPUTS[1][1])]
    predict(parser, more, output=output, options=options, host=(1, 2))
    assert parser.parsed == 1 and (output / "9.png").exists() and not (output / "8.png").exists()


def test_results_in_other_classes_are_refused(output):
    with pytest.raises(UserError, match="other classes"):
        run(output, remap="lapa")
    assert run(output, remap="lapa", skip_existing=False) == 8


def test_a_video_is_done_when_its_last_file_is_there(tmp_path):
    inputs = [
        (
            "deep/clip",
            write_clip(tmp_path / "clip.mp4", [0, 40, 80], image=lambda _: np.full((32, 32, 3), 255, np.uint8)),
        )
    ]
    for write in (("labels", "overlays"), ("labels", "json")):
        output = tmp_path / "-".join(write)
        assert run(output, inputs, write=write) == 3 and run(output, inputs, write=write) == 0
        assert run(output, inputs, write=("labels",)) == 3  # its frames may not be all
    (tmp_path / "labels-overlays/deep/clip_overlay.mp4").unlink()
    assert run(tmp_path / "labels-overlays", inputs, write=("labels", "overlays")) == 3


def test_a_file_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "a.png"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pathlib.Path, "replace", killed)
        patch.setattr(pathlib.Path, "unlink", lambda *_, **__: None)  # a real kill removes nothing
        write_bytes(path, b"first")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".") and left.suffix == ".part"
    write_bytes(path, b"second")
    assert os.listdir(tmp_path) == ["a.png"] and path.read_bytes() == b"second"
