"""What must be known about an exported network, for people (Markdown) and for programs (JSON)."""

import dataclasses
import datetime
import json
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

import jax

from dmlcsr_jax import __version__
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.export import PLATFORMS, Parity

_ROOT = pathlib.Path(__file__).parents[2]


def describe(
    file: str,
    metadata: CheckpointMetadata,
    parity: Parity,
    *,
    training_data: dict[str, Any],
    scores: dict[str, Any] | None,
    origin: dict[str, str],
) -> dict[str, Any]:
    """The model card of an exported file as JSON values.

    Args:
      file: the file's name; its suffix says which format it is.
      metadata: of the checkpoint.
      parity: how near the file comes to the checkpoint.
      training_data: from `describe_data`.
      scores: from `read_scores`.
      origin: `run` and `step`, the names of the run and of its checkpoint.
    """
    height, width = metadata.size
    spec = metadata.spec
    return {
        "file": file,
        "format": _describe_format(file),
        "input": {"images": f"uint8 RGB [batch, {height}, {width}, 3]"},
        "outputs": {
            "labels": f"uint8 class numbers [batch, {height}, {width}]",
            "logits": f"float32 [batch, {height}, {width}, {spec.num_classes}]",
        },
        "size": [height, width],
        "preprocessing_inside": dataclasses.asdict(metadata.preprocessing),
        "classes": [
            {"number": i, "name": name, "color": list(color)}
            for i, (name, color) in enumerate(zip(spec.class_names, spec.palette, strict=True))
        ],
        "network": {k: metadata.model[k] for k in ("backbone", "width", "stem", "norm", "dual_graph")},
        "training_data": training_data,
        "scores": scores,
        "parity": dataclasses.asdict(parity),
        "checkpoint": origin,
        "code": {"version": __version__, "commit": code_commit()},
        "exported": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def render(values: dict[str, Any]) -> str:
    """The Markdown of `describe`'s values; its code runs as it stands, next to the file and a `photo.jpg`."""
    sections = [f"# {values['file']}: face parsing by DML-CSR", _usage(values), _classes(values), _origin(values)]
    return "\n\n".join(sections) + "\n"


def read_scores(workdir: pathlib.Path) -> dict[str, Any] | None:
    """What `evaluation.json` of a workdir says, and its `date`; None where there is none.

    Raises:
      UserError: it cannot be read.
    """
    path = workdir / "evaluation.json"
    if not path.exists():
        return None
    try:
        date = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).date().isoformat()
        return {"date": date} | json.loads(path.read_text())
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); write it anew with --mode=evaluate") from error


def code_commit() -> str:
    """The commit of the code that runs, with "-dirty" where files differ from it; "" where it is no git checkout."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # there is no git
        return ""


def _describe_format(file: str) -> dict[str, Any]:
    if file.endswith(".onnx"):
        from dmlcsr_jax.inference.onnx_graph import OPSET

        return {"name": "ONNX", "opset": OPSET}
    return {"name": "StableHLO (jax.export)", "jax": jax.__version__, "platforms": list(PLATFORMS)}


def describe_data(spec: FaceSpec, folder: str, sources: Sequence[str]) -> dict[str, Any]:
    """What a network was trained on.

    Args:
      spec: the classes, with the data's terms.
      folder: the raw data; only its name is kept.
      sources: the weights that training started from; only their names are kept.
    """
    unknown = f"unknown: whoever made the folder {pathlib.Path(folder).name!r} knows what its images may be used for."
    return {
        "name": spec.name,
        "terms": spec.terms or unknown,
        "weights_began_from": [pathlib.Path(path).name for path in sources],
    }


def _usage(values: dict[str, Any]) -> str:
    form, (height, width) = values["format"], values["size"]
    if form["name"] == "ONNX":
        about = f"ONNX, opset {form['opset']}. It needs onnxruntime or another runtime, and none of the training code."
        imports, run = "import onnxruntime", _RUN_ONNX
    else:
        about = (
            f"StableHLO for {', '.join(form['platforms'])}, written by jax {form['jax']}. It needs `pip install jax "
            "flatbuffers` and none of the training code: that version of jax, or one of the half year after it (jax "
            "promises no more)."
        )
        imports, run = "import jax.export", _RUN_STABLEHLO
    code = _CODE.format(imports=imports, size=f"({width}, {height})", run=run.format(file=values["file"]))
    return f"""{about}

| | |
| --- | --- |
| input `images` | {values["input"]["images"]}; scaling to 0..1 and normalizing happen inside |
| output `labels` | {values["outputs"]["labels"]} |
| output `logits` | {values["outputs"]["logits"]}; their softmax are probabilities |

The batch is free, the size is not. A picture shows one face with hair and neck, upright, fitted with its aspect kept:

```python
{code}```"""


_CODE = """{imports}
import numpy as np
from PIL import Image, ImageOps

photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
images = np.asarray(ImageOps.pad(photo, {size}, Image.Resampling.BILINEAR))[None]
{run}"""

_RUN_ONNX = """session = onnxruntime.InferenceSession("{file}")
labels, logits = session.run(["labels", "logits"], {{"images": images}})
"""

_RUN_STABLEHLO = """with open("{file}", "rb") as file:
    parse = jax.jit(jax.export.deserialize(bytearray(file.read())).call)
found = parse(images)
labels, logits = found["labels"], found["logits"]
"""


def _classes(values: dict[str, Any]) -> str:
    scores = (values["scores"] or {}).get("f1", {})
    rows = ["| number | class | color (RGB) | F1 |", "| --- | --- | --- | --- |"]
    for c in values["classes"]:
        color = ", ".join(map(str, c["color"]))
        rows.append(f"| {c['number']} | {c['name']} | {color} | {_percent(scores.get(c['name']))} |")
    if values["scores"]:
        titles = {"mean_f1": "mean F1", "miou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
        means = ", ".join(f"{title} {_percent(values['scores'].get(name))}" for name, title in titles.items())
        said = f"In percent: {means}; evaluated {values['scores']['date']}."
    else:
        said = "This network was not scored."
    return "\n".join(["## Classes and scores\n", *rows, "", said])


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def _origin(values: dict[str, Any]) -> str:
    data, network, parity, code = (values[k] for k in ("training_data", "network", "parity", "code"))
    began = ", ".join(data["weights_began_from"])
    lines = [
        f"- Training data: {data['name']}. Terms: {data['terms']}",
        *([f"- The weights began from {began}, whose terms count as well."] if began else []),
        "- Whoever uses the weights is bound by these terms; the code that made them is under the Apache License 2.0.",
        f"- Network: {', '.join(f'{name} {value}' for name, value in network.items())}; float32.",
        f"- Made from step {values['checkpoint']['step']} of the run {values['checkpoint']['run']}, "
        f"by dmlcsr_jax {code['version']}, commit {code['commit'] or 'unknown'}, on {values['exported']}.",
        f"- Against that checkpoint, on drawn faces on a CPU: labels equal on {100 * parity['equal_labels']:.4f} % of "
        f"the pixels, logits within {parity['absolute_difference']:.1e} ({parity['relative_difference']:.1e} of the "
        "largest).",
    ]
    return "\n".join(["## Where it comes from\n", *lines])
