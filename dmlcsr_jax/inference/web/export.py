"""The files of the page: the demo's page, run by a network in the browser instead of a server."""

import json
import pathlib
import string
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.inference import demo
from dmlcsr_jax.inference.demo.answers import group_parts
from dmlcsr_jax.inference.finding import face_classes

_FOLDER = pathlib.Path(__file__).parent
_PACKAGE = {"name": "face-parts", "private": True, "dependencies": {"onnxruntime-web": "~1.30.0"}}
_README = """\
Run `npm install` in this folder, serve it with any static server (`python -m http.server`), and open its address.
The network runs on WebGPU where there is one, else in WebAssembly: in several threads if the server sends the headers
`Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`. No photo leaves the browser.
"""


def site(onnx: bytes, spec: FaceSpec, card: Mapping[str, Any]) -> dict[str, bytes | str]:
    """The files of the page, name -> content.

    Args:
      onnx: the network, as in `model.onnx`.
      spec: its classes.
      card: its model card, see `model_card.describe`. `model.json` holds it, and two more: `groups`, how the page lists
        the classes, and `face`, the classes that make a face. If that is null, the whole image is taken to be a face.
    """
    classes = face_classes(spec)
    face = {name: _numbers(value) for name, value in classes._asdict().items()} if classes else None
    groups = group_parts(np.arange(spec.num_classes, dtype=np.uint8)[None], spec)
    return {
        "index.html": string.Template(_read("index.html")).substitute(page=demo.read("page.html")),
        "page.css": _read("theme.css") + demo.read("page.css"),
        "page.js": f"export function start(element, props, parser) {{\n{demo.read('page.js')}}}\n",
        **{name: _read(name) for name in ("main.js", "worker.js", "faces.js", "geometry.js")},
        "model.onnx": onnx,
        "model.json": json.dumps({**card, "groups": groups, "face": face}, indent=1),
        "package.json": json.dumps(_PACKAGE, indent=2),
        "README.md": _README,
    }


def _numbers(value: np.ndarray | tuple[np.ndarray, ...]) -> list[Any]:
    """Class numbers as JSON values."""
    return [each.tolist() for each in value]


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
