"""What the demo's server answers: the labels of a photo, and how the page groups the classes."""

import base64
import binascii
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dmlcsr_jax.datasets import FaceSpec
from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.drawing.images import data_url, jpeg_url
from dmlcsr_jax.drawing.label_maps import count_pixels, encode_indexed_png
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.face import ParsedFace
from dmlcsr_jax.pipeline.geometry import restore_crop

MAX_MEGABYTES = 20
_MAX_PIXELS = 40_000_000
_MAX_SIDE = 16_384  # pixels; the longest canvas that every browser has

Parse = Callable[[np.ndarray], Sequence[ParsedFace]]  # such as a `FaceParser`

# Group -> words, one of which is in the names of its classes. The first group that fits is taken.
_GROUPS = {
    "Hair": "hair",
    "Accessories": "eye_g|(?:eye|sun)?glasses|ear_r|earrings?|neck_l|necklaces?|hat",
    "Neck and clothes": "neck|cloth|clothes|clothing",
    "Face": "skin|face|nose|eyes?|(?:eye)?brows?|ears?|mouth|lips?|teeth",
}
_ORDER = ("Face", "Hair", "Accessories", "Neck and clothes", "Other")
# CelebAMask-HQ's abbreviations. Left and right are the person's.
_SPELLED_OUT = {
    "eye_g": "glasses",
    "ear_r": "earring",
    "neck_l": "necklace",
    "cloth": "clothes",
    "u_lip": "upper lip",
    "l_lip": "lower lip",
    "l_eye": "left eye",
    "r_eye": "right eye",
    "l_brow": "left brow",
    "r_brow": "right brow",
    "l_ear": "left ear",
    "r_ear": "right ear",
}


def answer(parser: Parse, examples: Mapping[str, np.ndarray], request: Mapping[str, Any]) -> dict[str, Any]:
    """Parses a photo of the page or an example.

    Args:
      parser: of one image.
      examples: name -> image.
      request: `example`, the name of one; or `name` and `data`, the base64 of an image file.

    Returns:
      `describe(...)`; or `error`, one line for the user.
    """
    try:
        example = examples.get(str(request.get("example")))
        image = _decode(request) if example is None else example
        start = time.perf_counter()
        face = parser(image)[0]
        return describe(face, time.perf_counter() - start)
    except UserError as error:
        return {"error": str(error)}


def describe(face: ParsedFace, seconds: float) -> dict[str, Any]:
    """A parsed image as JSON values.

    Returns:
      `width`, `height`, `seconds`; `image`, a JPEG as data URL; `labels` and, if there are several faces, `owners` (the
      number of the face from 1, 0 outside), zlib-compressed [H, W] uint8 in base64; `faces`, the box of each from left
      to right, none if the whole image is one face; `found`, the number of faces; `groups`, see `group_parts`;
      `numbers`, the label map as palette PNG.
    """
    height, width = face.labels.shape
    crops = sorted(enumerate(face.crops), key=lambda item: item[1].face.box[0] if item[1].face else 0)
    rank = {index: number for number, (index, _) in enumerate(crops, 1)}
    owners = np.zeros_like(face.labels)
    if len(crops) > 1:
        for index, crop in enumerate(face.crops):  # in this order, so that larger faces lie over smaller ones
            owners[restore_crop(crop.labels, crop.matrix, width, height) != 0] = min(rank[index], 255)
    return {
        "width": width,
        "height": height,
        "seconds": seconds,
        "image": jpeg_url(face.image),
        "labels": _compress(face.labels),
        "owners": _compress(owners) if len(crops) > 1 else "",
        "faces": [list(crop.face.box) for _, crop in crops if crop.face],
        "found": len(crops),
        "groups": group_parts(face.labels, face.spec),
        "numbers": data_url("image/png", encode_indexed_png(face.labels, face.spec)),
    }


def group_parts(labels: np.ndarray, spec: FaceSpec) -> list[dict[str, Any]]:
    """The classes in a label map by group.

    Returns:
      `name` and `parts` of each group that is not empty; of each part `id` (the class number), `key` (the class name),
      `name` (for people) and `color`, such as "#ec3c40".
    """
    groups: dict[str, list[dict[str, Any]]] = {name: [] for name in _ORDER}
    for number in np.flatnonzero(count_pixels(labels)[: spec.num_classes]).tolist():
        key = spec.class_names[number]
        if number:
            color = "#{:02x}{:02x}{:02x}".format(*spec.palette[number])
            name = _SPELLED_OUT.get(key, key.replace("_", " "))
            groups[_group(key)].append({"id": number, "key": key, "name": name, "color": color})
    return [{"name": name, "parts": parts} for name, parts in groups.items() if parts]


def _group(key: str) -> str:
    """The group of a class name."""
    fitting = (name for name, words in _GROUPS.items() if re.search(rf"(?:^|[_ ])(?:{words})(?:$|[_ ])", key.lower()))
    return next(fitting, "Other")


def _decode(request: Mapping[str, Any]) -> np.ndarray:
    """[H, W, 3] uint8 RGB of an uploaded file."""
    name, data = str(request.get("name") or "the image"), str(request.get("data", ""))
    if len(data) * 3 / 4 > MAX_MEGABYTES * 1e6 + 3:
        raise UserError(f"{name} has more than {MAX_MEGABYTES} MB; choose a smaller file")
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise UserError(f"{name} arrived damaged; choose it again") from error
    image = decode_image(content, name, max_pixels=_MAX_PIXELS)
    if max(image.shape) > _MAX_SIDE:
        raise UserError(f"{name} has a side of more than {_MAX_SIDE} pixels; choose a smaller image")
    return image


def _compress(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 1)).decode()
