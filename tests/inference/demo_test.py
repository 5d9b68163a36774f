"""The demo: nothing of a photo is kept, only this machine is served, and it works in a browser."""

import base64
import io
import json
import re
import shutil
import socket
import sys
import urllib.request
import zlib

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceCrop, ParsedFace, demo
from dmlcsr_jax.inference.demo.answers import answer, group_parts
from dmlcsr_jax.inference.demo.examples import draw_examples, thumbnails
from dmlcsr_jax.inference.detector import Detection

SPEC = get_spec("lapa")
SKIN, HAIR = SPEC.class_id("skin"), SPEC.class_id("hair")


def parser(image):
    """Stands in for a network: the left half is hair, the right half skin; black images have no face."""
    labels = np.full(image.shape[:2], SKIN, np.uint8)
    labels[:, : image.shape[1] // 2] = HAIR
    crops = (FaceCrop(None, np.eye(2, 3), labels),) if image.any() else ()
    return [ParsedFace(image, labels if crops else np.zeros_like(labels), SPEC, crops)]


def request(data, name="photo.png"):
    return {"name": name, "data": base64.b64encode(data).decode()}


def png(width=90, height=60, color=(200, 150, 120)):
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def plane(text, like):
    values = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(values, np.uint8).reshape(like["height"], like["width"])


def image_of(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_the_answer_holds_image_labels_and_parts():
    result = json.loads(json.dumps(answer(parser, {}, request(png()))))
    expected = parser(np.ones((60, 90, 3), np.uint8))[0].labels
    np.testing.assert_array_equal(plane(result["labels"], result), expected)
    np.testing.assert_array_equal(np.asarray(image_of(result["numbers"])), expected)
    assert image_of(result["image"]).size == (90, 60)
    assert [(group["name"], [part["key"] for part in group["parts"]]) for group in result["groups"]] == [
        ("Face", ["skin"]),
        ("Hair", ["hair"]),
    ]
    assert (result["found"], result["faces"], result["owners"]) == (1, [], "")


def test_faces_are_numbered_from_left_to_right_and_larger_ones_lie_on_top():
    def crop(left, right):
        matrix = np.array([[1.0, 0, -left], [0, 1, 0]])
        return FaceCrop(Detection((left, 0, right, 20)), matrix, np.full((20, right - left), SKIN, np.uint8))

    def two(image):
        return [ParsedFace(image, np.full((20, 30), SKIN, np.uint8), SPEC, (crop(18, 30), crop(0, 20)))]

    result = answer(two, {}, request(png(30, 20)))
    assert result["found"] == 2 and [box[0] for box in result["faces"]] == [0, 18]
    np.testing.assert_array_equal(plane(result["owners"], result)[0], [1] * 20 + [2] * 10)


def test_images_without_a_face_have_no_parts():
    result = answer(parser, {}, request(png(color=(0, 0, 0))))
    assert result["found"] == 0 and result["groups"] == []


@pytest.mark.parametrize(
    ("upload", "words"),
    [
        (request(b"not an image", "text.jpg"), r"^text\.jpg cannot"),
        (request(b""), r"^photo\.png cannot"),
        ({"name": "a.png", "data": "%%%"}, r"^a\.png arrived damaged"),
        (request(bytes(20_000_100)), r"^photo\.png has more than 20 MB"),
        (request(png(8000, 5001)), r"^photo\.png has more than 40 megapixels"),
        (request(png(16_385, 1)), r"^photo\.png has a side of more than 16384"),
    ],
)
def test_unusable_uploads_are_reported_in_one_line(upload, words):
    result = answer(parser, {}, upload)
    assert list(result) == ["error"] and re.search(words, result["error"]) and "\n" not in result["error"]


def grouped(spec):
    groups = group_parts(np.arange(spec.num_classes, dtype=np.uint8)[None], spec)
    return {group["name"]: {part["key"]: part["name"] for part in group["parts"]} for group in groups}


def test_classes_are_grouped_and_spelled_out():
    groups = grouped(get_spec("celebamask_hq"))
    assert list(groups) == ["Face", "Hair", "Accessories", "Neck and clothes"]
    assert groups["Accessories"] == {"eye_g": "glasses", "hat": "hat", "ear_r": "earring", "neck_l": "necklace"}
    assert groups["Neck and clothes"] == {"neck": "neck", "cloth": "clothes"}
    assert groups["Face"]["l_lip"] == "lower lip" and groups["Face"]["l_ear"] == "left ear"
    for name in ("lapa", "helen"):
        assert list(grouped(get_spec(name))) == ["Face", "Hair"]
    own = FaceSpec("own", ("background", "beard", "Ears", "sunglasses", "chair"))
    assert {name: list(parts) for name, parts in grouped(own).items()} == {
        "Face": ["Ears"],
        "Accessories": ["sunglasses"],
        "Other": ["beard", "chair"],
    }


def test_examples_need_no_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    examples = draw_examples()
    assert list(examples) == ["Drawn face", "Two drawn faces"]
    assert answer(parser, examples, {"example": "Two drawn faces"})["width"] == 768
    assert [image_of(each["url"]).size for each in thumbnails(examples)] == [(96, 96), (96, 48)]


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install 'dmlcsr_jax\[demo\]'"):
        demo.build(parser)


@pytest.fixture
def address(tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = demo.build(parser)
    page.launch(**demo.launch_options(port), prevent_thread_lock=True)
    yield f"http://127.0.0.1:{port}"
    page.close()


def test_only_this_machine_is_served(address):
    assert urllib.request.urlopen(address, timeout=20).status == 200
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", int(address.rpartition(":")[2]))) != 0


def test_a_photo_is_parsed_without_leaving_a_file(address, tmp_path):
    config = json.load(urllib.request.urlopen(f"{address}/config", timeout=20))
    (component,) = [each["id"] for each in config["components"] if each["type"] == "html"]
    body = {"session_hash": "a", "component_id": component, "fn_name": "parse", "data": request(png())}
    call = urllib.request.Request(f"{address}/gradio_api/component_server", json.dumps(body).encode())
    call.add_header("Content-Type", "application/json")
    result = json.load(urllib.request.urlopen(call, timeout=20))
    assert (result["width"], result["height"]) == (90, 60)
    assert list(tmp_path.rglob("*")) == [] and config["run_history"] is False


def test_a_taken_port_is_reported():
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="--port="):
            demo.serve(parser, taken.getsockname()[1])


@pytest.fixture
def page(address):
    """The demo in a window of a phone's size; asserts that only the demo is asked for anything."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("no chromium")
    strangers, errors = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: strangers.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(address)
        page.wait_for_selector("canvas")  # the first example
        file = {"name": "photo.png", "mimeType": "image/png", "buffer": png()}
        page.set_input_files("input[type=file]", file)
        page.get_by_role("status").filter(has_text="photo.png: 1").wait_for()
        yield page
        browser.close()
    assert all(url.startswith((address, "data:", "blob:")) for url in strangers), strangers
    assert errors == []


def download(page, text):
    with page.expect_download() as download:
        page.get_by_role("button", name=text).click()
    return np.asarray(Image.open(download.value.path()))


@pytest.mark.slow
def test_parts_are_toggled_and_downloaded_in_a_browser(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("skin", exact=True).uncheck()
    mask, cutout = download(page, "mask"), download(page, "cut-out")
    assert mask.shape[:2] == (60, 90) and (mask[:, :45] == 255).all() and not mask[:, 45:, :3].any()
    assert (cutout[:, :45, 3] == 255).all() and not cutout[:, 45:].any()
    assert np.abs(cutout[:, :45, :3] - np.array((200.0, 150, 120))).max() < 8  # the photo itself, without colors
    assert np.unique(download(page, "class numbers")).tolist() == sorted((SKIN, HAIR))
    page.set_input_files("input[type=file]", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    page.get_by_role("status").filter(has_text="a.txt cannot").wait_for()


@pytest.mark.slow
def test_the_pointer_and_the_keyboard_name_the_part(page):
    canvas, tip = page.locator("canvas"), page.locator(".tip")
    box = canvas.bounding_box()
    for share, name in ((0.25, "hair"), (0.75, "skin")):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        assert tip.inner_text() == name
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text() == "hair"
    page.get_by_label("Before or after").focus()
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('canvas').getContext('2d').getImageData(70, 30, 1, 1).data[0]") > 190
