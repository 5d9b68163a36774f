"""A local web page to drop images on and download masks from. Needs the extra `demo` (Gradio).

An uploaded file is deleted as soon as it is read. Results stay in memory for a quarter of an hour; the page receives
them inside its HTML, so that none are written to disk.
"""

import html
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.images import decode_image, encode_label
from dmlcsr_jax.drawing.images import data_url, jpeg_url, resize_longer_side
from dmlcsr_jax.drawing.label_maps import count_pixels, encode_indexed_png
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.face import ParsedFace

if TYPE_CHECKING:
    import gradio  # pyright: ignore[reportMissingImports]

MAX_UPLOAD = "20mb"
MAX_PIXELS = 40_000_000
_SHOWN_SIDE = 1024  # pixels of the image on the page; masks have the size of the upload
_SECONDS_KEPT = 900
_OPACITY = 0.55

Parse = Callable[[np.ndarray], Sequence[ParsedFace]]  # such as a `FaceParser`


def serve(parser: Parse, port: int) -> None:
    """Serves the page at http://127.0.0.1:PORT, reachable from this machine only, until Ctrl-C.

    Raises:
      UserError: Gradio is not installed, or the port is taken.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
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
    """Arguments of `gradio.Blocks.launch`: this machine only, with limits on uploads and on what is kept."""
    return {
        "server_name": "127.0.0.1",
        "server_port": port,
        "max_file_size": MAX_UPLOAD,
        "state_session_capacity": 16,
        "footer_links": [],
        "quiet": True,
    }


def build(parser: Parse) -> "gradio.Blocks":
    """Builds the page.

    Raises:
      UserError: Gradio is not installed.
    """
    try:
        import gradio  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("the demo needs gradio; install it with: pip install '.[demo]'") from error

    def upload(path: str) -> tuple[ParsedFace | None, None, gradio.CheckboxGroup, str]:
        try:
            face = parse_upload(parser, pathlib.Path(path))
        except UserError as error:
            return None, None, gradio.CheckboxGroup(choices=[], value=[]), f"<p>{html.escape(str(error))}</p>"
        names = present(face)
        return face, None, gradio.CheckboxGroup(choices=names, value=names), render(face, names, _OPACITY)

    with gradio.Blocks(title="Face parts", analytics_enabled=False, delete_cache=(60, 60)) as page:
        face = gradio.State(time_to_live=_SECONDS_KEPT)
        with gradio.Row():
            with gradio.Column(scale=1):
                file = gradio.File(label=f"Drop an image (at most {MAX_UPLOAD})", file_types=["image"])
                opacity = gradio.Slider(0, 1, _OPACITY, step=0.05, label="Opacity")
                names = gradio.CheckboxGroup([], label="Parts")
            with gradio.Column(scale=2):
                view = gradio.HTML(min_height=300)
        hidden = {"api_visibility": "private", "show_progress": "minimal"}
        file.upload(upload, file, [face, file, names, view], **hidden)
        for change in (names.input, opacity.release):
            change(render, [face, names, opacity], view, **hidden)
    return page


def parse_upload(parser: Parse, path: pathlib.Path) -> ParsedFace:
    """Parses an uploaded image and deletes its file, even if that fails.

    Raises:
      UserError: the file is not an image, or has more than `MAX_PIXELS`.
    """
    try:
        data = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    return parser(decode_image(data, path.name, max_pixels=MAX_PIXELS))[0]


def present(face: ParsedFace) -> list[str]:
    """The names of the parts in an image."""
    numbers = np.flatnonzero(count_pixels(face.labels))
    return [face.names[number] for number in numbers if 0 < number < face.spec.num_classes]


def render(face: ParsedFace | None, names: Sequence[str], opacity: float) -> str:
    """The overlay of the named parts and links to their masks, as self-contained HTML."""
    if face is None:
        return "<p>The image is no longer kept; drop it again.</p>"
    if not face.crops:
        return f"<p>No face was found.</p>{_image_tag(face.image)}"
    chosen = face.mask(*names)
    numbers = encode_indexed_png(np.where(chosen, face.labels, np.uint8(0)), face.spec)
    mask = encode_label(255 * chosen.astype(np.uint8))
    links = _link("mask.png", mask, "Download mask") + " · " + _link("labels.png", numbers, "Download class numbers")
    return f"{_image_tag(face.overlay(opacity, names=names))}<p>{links}</p>"


def _image_tag(image: np.ndarray) -> str:
    shown = resize_longer_side(image, _SHOWN_SIDE) if max(image.shape) > _SHOWN_SIDE else image
    return f'<img id="overlay" style="max-width: 100%" alt="overlay" src="{jpeg_url(shown)}">'


def _link(name: str, data: bytes, text: str) -> str:
    return f'<a download="{name}" href="{data_url("image/png", data)}">{text}</a>'
