"""The Markdown text of a model card."""

from collections.abc import Mapping
from typing import Any

_RUN_SAFETENSORS = """from dmlcsr_jax import FaceParser

parser = FaceParser.load(".")  # the folder with model.safetensors and model.json
(face,) = parser("photo.jpg")
labels, hair = face.labels, face.mask("hair")
"""

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
outputs = parse(images)
labels, logits = outputs["labels"], outputs["logits"]
"""


def render(card: Mapping[str, Any]) -> str:
    """Markdown of what `model_card.describe` returns; its code runs as is beside the file and a `photo.jpg`."""
    usage = _usage_in_package(card) if card["format"]["name"] == "safetensors" else _usage(card)
    sections = [f"# {card['file']}: face parsing by DML-CSR", usage, _classes(card), _origin(card)]
    if card["notes"]:
        sections.append(card["notes"])
    return "\n\n".join(sections) + "\n"


def _usage_in_package(card: Mapping[str, Any]) -> str:
    height, width = card["size"]
    return f"""Weights of dmlcsr_jax. Kernels are stored in float16; the network computes in float32. `model.json`
beside them holds the classes, the network and its input ({height} x {width} pixels).

```python
{_RUN_SAFETENSORS}```

`--config.init_from=FOLDER` starts a training from them."""


def _usage(card: Mapping[str, Any]) -> str:
    about, imports, run = _describe_runtime(card["format"])
    height, width = card["size"]
    code = _CODE.format(imports=imports, size=f"({width}, {height})", run=run.format(file=card["file"]))
    return f"""{about}

| | |
| --- | --- |
| input `images` | {card["input"]["images"]}; scaling to 0..1 and normalization are inside |
| output `labels` | {card["outputs"]["labels"]} |
| output `logits` | {card["outputs"]["logits"]}; their softmax is the probability of each class |

The batch size is free, the image size is fixed. An image shows one upright face with hair and neck, padded to that size
with its aspect ratio kept:

```python
{code}```"""


def _describe_runtime(form: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a format needs, and the imports and the call that use it."""
    if form["name"] == "ONNX":
        about = f"ONNX, opset {form['opset']}. It needs onnxruntime or another runtime, and none of the training code."
        return about, "import onnxruntime", _RUN_ONNX
    about = (
        f"StableHLO for {', '.join(form['platforms'])}, written by jax {form['jax']}. It needs `pip install jax "
        "flatbuffers` and none of the training code. jax guarantees that versions of the following six months can read "
        "it."
    )
    return about, "import jax.export", _RUN_STABLEHLO


def _classes(card: Mapping[str, Any]) -> str:
    scores = (card["scores"] or {}).get("f1", {})
    rows = ["| number | class | color (RGB) | F1 |", "| --- | --- | --- | --- |"]
    for each in card["classes"]:
        color = ", ".join(map(str, each["color"]))
        rows.append(f"| {each['number']} | {each['name']} | {color} | {_percent(scores.get(each['name']))} |")
    return "\n".join(["## Classes and scores\n", *rows, "", _summarize_scores(card["scores"])])


def _summarize_scores(scores: Mapping[str, Any] | None) -> str:
    if not scores:
        return "This network was not scored."
    titles = {"mean_f1": "mean F1", "miou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
    means = ", ".join(f"{title} {_percent(scores.get(name))}" for name, title in titles.items())
    return f"In percent: {means}; evaluated {scores['date']}."


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def _origin(card: Mapping[str, Any]) -> str:
    data, network, parity, code = (card[name] for name in ("training_data", "network", "parity", "code"))
    stored = card["format"]["name"] == "safetensors"
    source = "the float32 weights of that checkpoint" if stored else "the same weights in dmlcsr_jax"
    lines = [
        f"- Training data: {data['name']}. Terms: {data['terms']}",
        *(f"- {sentence}" for sentence in data["inherited_terms"]),
        "- These terms bind whoever uses the weights; the code is under the Apache License 2.0.",
        f"- Network: {', '.join(f'{name} {value}' for name, value in network.items())}; float32.",
        f"- Exported from step {card['checkpoint']['step']} of the run {card['checkpoint']['run']} "
        f"by dmlcsr_jax {code['version']}, commit {code['commit'] or 'unknown'}, on {card['exported']}.",
        f"- Compared with {source} on synthetic faces on a CPU: {100 * parity['equal_labels']:.4f} % of the "
        f"labels are equal, and logits differ by at most {parity['absolute_difference']:.1e} "
        f"({parity['relative_difference']:.1e} of the largest).",
    ]
    if parity.get("equal_labels_bfloat16") is not None:
        lines.append(f"- In bfloat16, by OpenVINO, {100 * parity['equal_labels_bfloat16']:.2f} % of them are equal.")
    return "\n".join(["## Origin\n", *lines])
