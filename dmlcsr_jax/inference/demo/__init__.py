"""A local web page to drop photos on and download masks from. Needs the extra `demo` (Gradio).

A photo goes from the page to this process and back, in memory: nothing of it is written to disk, and once the answer is
sent the server keeps none of it. Toggles, sliders and downloads run in the page (`page.js`), which `inference.web` uses
without a server.
"""

import os
import pathlib
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from dmlcsr_jax.console import print_plain
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.demo.answers import MAX_MEGABYTES, Parse, answer
from dmlcsr_jax.inference.demo.examples import draw_examples, thumbnails

if TYPE_CHECKING:
    import gradio  # pyright: ignore[reportMissingImports]

__all__ = ["build", "launch_options", "read", "serve"]

_FOLDER = pathlib.Path(__file__).parent


def serve(parser: Parse, port: int) -> None:
    """Serves the page at http://127.0.0.1:PORT, reachable from this machine only, until Ctrl-C.

    Args:
      parser: such as a `FaceParser`; called by one thread at a time.
      port: 1024 to 65535.

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
        print_plain(f"open http://127.0.0.1:{port}   (Ctrl-C stops)")
        page.block_thread()


def launch_options(port: int) -> dict[str, Any]:
    """Arguments of `gradio.Blocks.launch`: this machine only, with limits on uploads and on what is kept."""
    return {
        "server_name": "127.0.0.1",
        "server_port": port,
        "max_file_size": f"{MAX_MEGABYTES}mb",
        "state_session_capacity": 16,
        "run_history": False,  # else the browser would store runs
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
        raise UserError("the demo needs gradio; install it with: pip install 'dmlcsr_jax[demo]'") from error

    examples = draw_examples()
    turn = threading.Lock()

    def parse(request: dict[str, Any]) -> dict[str, Any]:
        with turn:
            return answer(parser, examples, request)

    with gradio.Blocks(title="Face parts", analytics_enabled=False, delete_cache=(60, 60)) as page:
        gradio.HTML(
            html_template=read("page.html"),
            css_template=read("page.css"),
            js_on_load=read("server.js") + read("page.js"),
            server_functions=[parse],
            apply_default_css=False,
            examples=thumbnails(examples),
            megabytes=MAX_MEGABYTES,
        )
    return page


def read(name: str) -> str:
    """A file of the page: page.html, page.css, page.js or server.js."""
    return (_FOLDER / name).read_text(encoding="utf-8")
