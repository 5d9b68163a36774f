"""The demo: nothing of an upload is kept, only this machine is served, and it works in a browser."""

import base64
import io
import re
import shutil
import socket
import urllib.request

import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceCrop, ParsedFace, demo

SPEC = get_spec("lapa")


def parser(image):
    """Stands in for a network: the left half is hair, the right half skin; black images have no face."""
    labels = np.full(image.shape[:2], SPEC.class_id("skin"), np.uint8)
    labels[:, : image.shape[1] // 2] = SPEC.class_id("hair")
    crops = (FaceCrop(None, np.eye(2, 3), labels),) if image.any() else ()
    return [ParsedFace(image, labels if crops else np.zeros_like(labels), SPEC, crops)]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (90, 60), (200, 150, 120)).save(path)
    return path


def linked(page, name):
    data = re.search(rf'download="{name}" href="data:image/png;base64,([^"]+)"', page).group(1)
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_uploads_are_deleted_whatever_they_are(photo, tmp_path):
    face = demo.parse_upload(parser, photo)
    assert face.image.shape == (60, 90, 3) and demo.present(face) == ["skin", "hair"]
    (tmp_path / "text.jpg").write_text("not an image")
    Image.new("1", (8000, 6000)).save(tmp_path / "large.png")
    for name, words in (("text.jpg", r"^text\.jpg cannot"), ("large.png", r"^large\.png has more than 40 megapixels")):
        with pytest.raises(UserError, match=words):
            demo.parse_upload(parser, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_view_has_overlay_and_masks_of_the_chosen_parts(photo):
    face = demo.parse_upload(parser, photo)
    page = demo.render(face, ["hair"], 0.5)
    mask, labels = np.asarray(linked(page, "mask.png")), np.asarray(linked(page, "labels.png"))
    np.testing.assert_array_equal(mask > 0, face.mask("hair"))
    np.testing.assert_array_equal(labels, np.where(face.mask("hair"), face.labels, 0))
    assert demo.render(face, ["hair"], 0.9) != page
    assert not np.asarray(linked(demo.render(face, [], 0.5), "mask.png")).any()


def test_missing_faces_and_expired_images_are_reported():
    assert "No face" in demo.render(parser(np.zeros((8, 8, 3), np.uint8))[0], [], 0.5)
    assert "drop it again" in demo.render(None, [], 0.5)


@pytest.fixture
def address():
    pytest.importorskip("gradio")
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


def test_a_taken_port_is_reported():
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="--port="):
            demo.serve(parser, taken.getsockname()[1])


@pytest.mark.slow
def test_in_a_browser(address, photo):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("no chromium")
    strangers = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: strangers.append(request.url))
        page.goto(address)
        page.wait_for_selector("input[type=file]", state="attached")
        page.set_input_files("input[type=file]", str(photo))
        before = page.wait_for_selector("#overlay", timeout=30000).get_attribute("src")
        page.get_by_label("skin", exact=True).uncheck()
        page.wait_for_function("src => document.querySelector('#overlay').src !== src", arg=before)
        with page.expect_download() as download:
            page.click("a[download='mask.png']")
        mask = np.asarray(Image.open(download.value.path()))
        browser.close()
    assert mask.shape == (60, 90) and mask[:, :45].all() and not mask[:, 45:].any()
    assert all(url.startswith((address, "data:", "blob:")) for url in strangers), strangers
