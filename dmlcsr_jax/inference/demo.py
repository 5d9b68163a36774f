"""A page on this machine: drop a picture, see its parts, take the mask away. Needs the extra `demo` (Gradio).

A picture that is dropped lies in a temporary folder until it has been read, at once, and is then deleted. What was
found is in memory only, for a quarter of an hour; the page gets it inside its own text, so nothing is written for it.
"""

import base64
import html
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.drawing.contact_sheet import fitted
from dmlcsr_jax.drawing.overlay import encode_indexed_png
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.face import ParsedFace
from dmlcsr_jax.inference.parser import FaceParser

MAX_UPLOAD = "20mb"
MAX_PIXELS = 40_000_000
_SHOWN_SIDE = 1024  # pixels of the picture on the page; masks have the picture's own size
_SECONDS_KEPT = 900


def serve(parser: FaceParser, port: int) -> None:
    """Serves the page at http://127.0.0.1:PORT, reachable from this machine only, until Ctrl-C.

    Raises:
      UserError: Gradio is not installed, or the port is taken.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # tells nobody
    with tempfile.TemporaryDirectory(prefix="dmlcsr_jax_demo_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build(parser)
        try:
            page.launch(**launch_options(port), prevent_thread_lock=True)
        except (OSError, OverflowError) as error:
            raise UserError(f"--port={port} cannot be used; give a free one from 1024 to 65535") from error
        console.print(f"open http://127.0.0.1:{port}   (Ctrl-C stops)")
        page.block_thread()


def launch_options(port: int) -> dict[str, Any]:
    """What `gradio.Blocks.launch` is given: this machine only, and limits to what is uploaded and kept."""
    return {
        "server_name": "127.0.0.1",
        "server_port": port,
        "max_file_size": MAX_UPLOAD,
        "state_session_capacity": 16,
        "footer_links": [],
        "quiet": True,
    }


def build(parser: FaceParser) -> Any:
    """The page, a `gradio.Blocks`; UserError where Gradio is not installed."""
    try:
        import gradio
    except ImportError as error:
        raise UserError("the demo needs gradio; install it with: pip install '.[demo]'") from error

    def upload(path: str) -> tuple:
        try:
            face = parse_upload(parser, pathlib.Path(path))
        except UserError as error:
            return None, None, gradio.CheckboxGroup(choices=[], value=[]), f"<p>{html.escape(str(error))}</p>"
        names = present(face)
        return face, None, gradio.CheckboxGroup(choices=names, value=names), render(face, names, 0.55)

    with gradio.Blocks(title="Face parts", analytics_enabled=False, delete_cache=(60, 60)) as page:
        face = gradio.State(time_to_live=_SECONDS_KEPT)
        with gradio.Row():
            with gradio.Column(scale=1):
                file = gradio.File(label=f"Drop a picture (at most {MAX_UPLOAD})", file_types=["image"])
                opacity = gradio.Slider(0, 1, 0.55, step=0.05, label="Opacity")
                names = gradio.CheckboxGroup([], label="Parts")
            with gradio.Column(scale=2):
                view = gradio.HTML(min_height=300)
        hidden = {"api_visibility": "private", "show_progress": "minimal"}
        file.upload(upload, file, [face, file, names, view], **hidden)
        for change in (names.input, opacity.release):
            change(render, [face, names, opacity], view, **hidden)
    return page


def parse_upload(parser: FaceParser, path: pathlib.Path) -> ParsedFace:
    """Parses an uploaded picture and deletes its file, whatever happens.

    Raises:
      UserError: it is no picture, or has more than `MAX_PIXELS`.
    """
    try:
        data = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    return parser(decode_image(data, path.name, MAX_PIXELS))[0]


def present(face: ParsedFace) -> list[str]:
    """The parts that are in a picture."""
    numbers = np.flatnonzero(np.bincount(face.labels.ravel(), minlength=256))
    return [face.names[number] for number in numbers if 0 < number < face.spec.num_classes]


def render(face: ParsedFace | None, names: Sequence[str], opacity: float) -> str:
    """The overlay of the named parts and links to their masks, as HTML with everything inside."""
    if face is None:
        return "<p>The picture is no longer kept; drop it again.</p>"
    if not face.crops:
        return f"<p>No face was found.</p>{_picture(face.image)}"
    chosen = face.mask(*names)
    numbers = encode_indexed_png(np.where(chosen, face.labels, np.uint8(0)), face.spec)
    mask = cv2.imencode(".png", 255 * chosen.astype(np.uint8))[1].tobytes()
    links = _link("mask.png", mask, "Download mask") + " · " + _link("labels.png", numbers, "Download class numbers")
    return f"{_picture(face.overlay(opacity, names=names))}<p>{links}</p>"


def _picture(image: np.ndarray) -> str:
    shown = fitted(image, _SHOWN_SIDE) if max(image.shape) > _SHOWN_SIDE else image
    data = cv2.imencode(".jpg", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))[1].tobytes()
    return f'<img id="overlay" style="max-width: 100%" alt="overlay" src="{_url("image/jpeg", data)}">'


def _link(name: str, data: bytes, text: str) -> str:
    return f'<a download="{name}" href="{_url("image/png", data)}">{text}</a>'


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
