"""Exports networks: StableHLO for JAX, ONNX for everything else, and safetensors for this package.

StableHLO and ONNX run without this package; "web" is ONNX with a page around it. They take uint8 RGB images of the
network's input size, in batches of any length, and return class numbers and float32 logits of that size; the edge heads
are dropped. Safetensors keep them, so that training can start there. A file is written only if it computes what the
network does.
"""

import dataclasses
import importlib.util
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import write_bytes
from dmlcsr_jax.inference.engines.openvino_engine import OpenVinoGraph, computes_bfloat16
from dmlcsr_jax.models import create_model
from dmlcsr_jax.models.test_time_augmentation import scaled_size
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.paths import Path, as_path, reaching
from dmlcsr_jax.pipeline.transforms import fit_image
from dmlcsr_jax.types import Variables

FORMATS = ("stablehlo", "onnx", "safetensors", "web")
PLATFORMS = ("cpu", "cuda", "tpu")
LOGITS_BOUND = 1e-3  # largest difference, relative to the largest logit
LABELS_BOUND = 0.9999  # share of pixels whose class number is the same
_FLOAT16_BOUNDS = (0.05, 0.98)  # the same where weights are rounded to float16: untrained networks are near 0.01, 0.99
_FACES = 3  # images to compare on

# "labels": [B, H, W] uint8, "logits": [B, H, W, C] float32
Outputs = Mapping[str, np.ndarray]
# [B, H, W, 3] uint8 RGB -> outputs
Run = Callable[[np.ndarray], Outputs]


@dataclasses.dataclass(frozen=True)
class Parity:
    """How closely an exported network matches its source, on synthetic faces.

    Attributes:
      equal_labels: share of pixels with the same class number, 0..1.
      absolute_difference: largest difference between logits.
      relative_difference: the same, divided by the largest absolute logit.
      equal_labels_bfloat16: share of pixels with the same class number if OpenVINO computes in bfloat16; None where it
        does not.
    """

    equal_labels: float
    absolute_difference: float
    relative_difference: float
    equal_labels_bfloat16: float | None = None

    def holds(self, logits_bound: float = LOGITS_BOUND, labels_bound: float = LABELS_BOUND) -> bool:
        """Whether both bounds are met; NaN meets none."""
        return self.relative_difference <= logits_bound and self.equal_labels >= labels_bound

    def __str__(self) -> str:
        return (
            f"labels equal on {100 * self.equal_labels:.4f} % of the pixels, "
            f"logits within {self.relative_difference:.1e} of the largest"
        )


def export_network(
    variables: Variables, metadata: CheckpointMetadata, formats: Sequence[str]
) -> dict[str, tuple[bytes, Parity]]:
    """Exports the network of a checkpoint and compares each result with the original.

    With "safetensors" all files hold kernels rounded to float16, and the others are compared with those. ONNX
    stores weights in float16 whenever that is exact.

    The comparison runs on the CPU, where float32 products are computed in full precision.

    Args:
      variables: `params` and `batch_stats`; those of the edge heads may be absent.
      metadata: classes, network, input size and preprocessing.
      formats: names of `FORMATS`.

    Returns:
      Format -> the content of its file, and how closely it matches the network.

    Raises:
      UserError: a format does not exist or lacks its packages, or an export does not compute what the network does.
    """
    check_formats(formats)
    variables = jax.device_get(variables)
    exported = {}
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        images, parse = _draw_images(metadata.size), jax.jit(_make_parse(metadata))
        expected = jax.device_get(parse(_without_edge_heads(variables), images))
        if "safetensors" in formats:
            stored, exact = checkpoints.store(variables), expected
            variables = checkpoints.restore(stored)
            expected = jax.device_get(parse(_without_edge_heads(variables), images))
            parity = _check("--formats=safetensors is not written", _compare(expected, exact), *_FLOAT16_BOUNDS)
            exported["safetensors"] = safetensors.numpy.save(stored), parity
        for name in (name for name in formats if name != "safetensors"):
            encode, load = (encode_stablehlo, load_stablehlo) if name == "stablehlo" else (encode_onnx, load_onnx)
            data = encode(_without_edge_heads(variables), metadata)
            parity = _check(f"--formats={name} is not written", _compare(load(data)(images), expected))
            if name != "stablehlo":
                labels = _bfloat16_labels(data, images)
                equal = None if labels is None else float((labels == expected["labels"]).mean())
                parity = dataclasses.replace(parity, equal_labels_bfloat16=equal)
            exported[name] = data, parity
    return exported


def export_onnx(variables: Variables, metadata: CheckpointMetadata, scale: float = 1.0) -> bytes:
    """The network as ONNX for this machine's engines; it sees its images at `scale` times their size.

    Args:
      variables: `params` and `batch_stats`; those of the edge heads may be absent.
      metadata: classes, network, input size and preprocessing.
      scale: sizes of images and logits stay those of the metadata.

    Raises:
      UserError: it does not compute what the network does.
    """
    from dmlcsr_jax.inference.onnx_graph import build_model

    variables = _without_edge_heads(jax.device_get(variables))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        images = _draw_images(metadata.size)
        expected = jax.device_get(jax.jit(_make_parse(metadata, scale))(variables, images))
        data = build_model(variables, metadata, scale).SerializeToString()
        _check(f"engine jax is needed, ONNX at scale {scale:g} is no use", _compare(load_onnx(data)(images), expected))
    return data


def _without_edge_heads(variables: Variables) -> dict[str, Any]:
    return {kind: {part: tree[part] for part in tree if part != "edge_head"} for kind, tree in variables.items()}


def _check(
    refusal: str, parity: Parity, logits_bound: float = LOGITS_BOUND, labels_bound: float = LABELS_BOUND
) -> Parity:
    """Returns `parity`; UserError if it does not hold."""
    if not parity.holds(logits_bound, labels_bound):
        raise UserError(
            f"{refusal}, because it does not compute what the network does: {parity}; "
            f"required are {100 * labels_bound} % and {logits_bound:.0e}; try another format"
        )
    return parity


def _draw_images(size: tuple[int, int]) -> np.ndarray:
    """[B, height, width, 3] uint8 RGB synthetic faces."""
    return np.stack([fit_image(draw_face(seed, max(64, *size))[0], size) for seed in range(_FACES)])


def check_formats(formats: Sequence[str]) -> None:
    """Raises UserError if a format does not exist, or needs a package that is not installed."""
    if not formats or set(formats) - set(FORMATS):
        raise UserError(f"--formats={','.join(formats)}: name one or more of {', '.join(FORMATS)}")
    if {"onnx", "web"} & set(formats):
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"--formats={','.join(formats)} needs the package {error.name}; pip install 'dmlcsr_jax[onnx]', or "
                "export without ONNX: --formats=stablehlo"
            ) from error


def encode_stablehlo(variables: Variables, metadata: CheckpointMetadata) -> bytes:
    """Serializes the network by `jax.export` for all of `PLATFORMS`: images -> {"labels", "logits"}."""
    parse = _make_parse(metadata)

    def images_only(images: jax.Array) -> dict[str, jax.Array]:
        # The barrier keeps XLA from folding constants, which would spend a long time computing on the weights.
        return parse(jax.lax.optimization_barrier(variables), images)

    shape = jax.export.symbolic_shape(f"batch, {metadata.size[0]}, {metadata.size[1]}, 3")
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    return bytes(jax.export.export(jax.jit(images_only), platforms=PLATFORMS)(images).serialize())


def load_stablehlo(data: bytes) -> Run:
    """The function in a file of `encode_stablehlo`."""
    call = jax.jit(jax.export.deserialize(bytearray(data)).call)
    return lambda images: jax.device_get(call(images))


def encode_onnx(variables: Variables, metadata: CheckpointMetadata) -> bytes:
    """The network as ONNX, see `onnx_graph.build_model`."""
    from dmlcsr_jax.inference.onnx_graph import build_model

    return build_model(variables, metadata).SerializeToString()


def load_onnx(data: bytes) -> Run:
    """The function in a file of `encode_onnx`, run by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, map(np.asarray, session.run(names, {"images": images})), strict=True))


def write_files(output: Path, files: Mapping[str, bytes | str]) -> None:
    """Writes files into a folder, all of them or none; makes the folder if it does not exist.

    In a remote folder each file is whole or absent.

    Args:
      output: the folder.
      files: name -> content.

    Raises:
      UserError: the folder cannot be written.
    """
    output = as_path(output, "--output")
    contents = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    try:
        with reaching(output):
            output.mkdir(parents=True, exist_ok=True)
            if not isinstance(output, pathlib.Path):
                for name, content in contents.items():
                    write_bytes(output / name, content)
                return
        with tempfile.TemporaryDirectory(dir=output, prefix=".") as parts:
            for name, content in contents.items():
                pathlib.Path(parts, name).write_bytes(content)
            for name in files:
                pathlib.Path(parts, name).replace(output / name)
    except OSError as error:
        raise UserError(f"--output={output} cannot be written ({error.strerror}); name another folder") from error


def _bfloat16_labels(data: bytes, images: np.ndarray) -> np.ndarray | None:
    """The labels of an ONNX file in bfloat16; None if OpenVINO is not installed or the processor has no bfloat16."""
    if importlib.util.find_spec("openvino") is None or not computes_bfloat16():
        return None
    return OpenVinoGraph(data, "the export", "bfloat16").labels(images)


def _make_parse(
    metadata: CheckpointMetadata, scale: float = 1.0
) -> Callable[[Variables, jax.Array], dict[str, jax.Array]]:
    """(variables, [B, H, W, 3] uint8) -> labels [B, H, W] uint8 and logits [B, H, W, C] float32."""
    model = create_model(metadata.spec.num_classes, **{**metadata.model, "dtype": "float32"})

    def parse(variables: Variables, images: jax.Array) -> dict[str, jax.Array]:
        inputs = resize_bilinear(normalize(images, metadata.preprocessing), scaled_size(metadata.size, scale))
        logits = model.apply(variables, inputs, method="parse")
        logits = resize_bilinear(cast(jax.Array, logits), metadata.size)
        return {"labels": jnp.argmax(logits, axis=-1).astype(jnp.uint8), "logits": logits}

    return parse


def _compare(outputs: Outputs, expected: Outputs) -> Parity:
    difference = float(np.abs(outputs["logits"] - expected["logits"]).max())
    largest = max(float(np.abs(expected["logits"]).max()), float(np.finfo(np.float32).tiny))
    return Parity(float((outputs["labels"] == expected["labels"]).mean()), difference, difference / largest)
