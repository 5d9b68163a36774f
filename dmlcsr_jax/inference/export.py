"""Networks as files that run without this package: StableHLO for JAX, ONNX for everything else.

Both take uint8 RGB pictures of the network's own size and give class numbers and logits at that size, in float32, for
batches of any length; the edge heads are gone. Nothing is written that was not run on faces and found equal.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import create_model
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.pipeline.transforms import fit_image

FORMATS = ("stablehlo", "onnx")
PLATFORMS = ("cpu", "cuda", "tpu")
LOGITS_BOUND = 1e-3  # largest difference, relative to the largest logit
LABELS_BOUND = 0.9999  # share of pixels whose class number is the same
_FACES = 3  # pictures to compare on

Outputs = Mapping[str, np.ndarray]
Run = Callable[[np.ndarray], Outputs]


@dataclasses.dataclass(frozen=True)
class Parity:
    """How near an exported network is to the one it was made from, on drawn faces.

    Attributes:
      equal_labels: share of the pixels with the same class number, 0..1.
      absolute_difference: the largest difference of a logit.
      relative_difference: the same, divided by the largest absolute logit.
    """

    equal_labels: float
    absolute_difference: float
    relative_difference: float

    @property
    def holds(self) -> bool:
        """Whether both bounds are kept; a NaN keeps none."""
        return self.relative_difference <= LOGITS_BOUND and self.equal_labels >= LABELS_BOUND

    def __str__(self) -> str:
        return (
            f"labels equal on {100 * self.equal_labels:.4f} % of the pixels, "
            f"logits within {self.relative_difference:.1e} of the largest"
        )


def export_network(
    variables: Mapping[str, Any], metadata: CheckpointMetadata, formats: Sequence[str]
) -> dict[str, tuple[bytes, Parity]]:
    """The network of a checkpoint in each format, compared with itself on the CPU, where float32 is whole.

    Args:
      variables: `params` and `batch_stats`; the edge heads' are not needed.
      metadata: classes, network, input preprocessing and size.
      formats: names of FORMATS.

    Returns:
      Format -> what goes into its file, and how near it came.

    Raises:
      UserError: a format does not exist or lacks its packages, or an export does not compute what the network does.
    """
    check_formats(formats)
    kept = {kind: {part: tree[part] for part in tree if part != "edge_head"} for kind, tree in variables.items()}
    kept = jax.device_get(kept)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        pictures = np.stack(
            [fit_image(draw_face(seed, max(64, *metadata.size))[0], metadata.size) for seed in range(_FACES)]
        )
        expected = jax.device_get(jax.jit(_make_parse(metadata))(kept, pictures))
        exported = {}
        for name in formats:
            encode, load = (encode_onnx, load_onnx) if name == "onnx" else (encode_stablehlo, load_stablehlo)
            data = encode(kept, metadata)
            parity = _compare(load(data)(pictures), expected)
            if not parity.holds:
                raise UserError(
                    f"--formats={name} is not written, for it does not compute what the network does: {parity}; "
                    f"asked for are {100 * LABELS_BOUND} % and {LOGITS_BOUND:.0e}; try another format"
                )
            exported[name] = data, parity
    return exported


def check_formats(formats: Sequence[str]) -> None:
    """UserError where a format does not exist, or needs a package that is not there."""
    if not formats or set(formats) - set(FORMATS):
        raise UserError(f"--formats={','.join(formats)}: name one or more of {', '.join(FORMATS)}")
    if "onnx" in formats:
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"--formats={','.join(formats)} needs the package {error.name}; pip install 'dmlcsr_jax[onnx]', or do "
                "without ONNX: --formats=stablehlo"
            ) from error


def encode_stablehlo(variables: Mapping[str, Any], metadata: CheckpointMetadata) -> bytes:
    """The network for all PLATFORMS, serialized by `jax.export`: images -> {"labels", "logits"}."""
    parse = _make_parse(metadata)

    def images_only(images):
        # Behind the barrier XLA leaves the weights as they are; else it computes on them, at length, when it compiles.
        return parse(jax.lax.optimization_barrier(variables), images)

    shape = jax.export.symbolic_shape(f"batch, {metadata.size[0]}, {metadata.size[1]}, 3")
    images = jax.ShapeDtypeStruct(shape, jnp.uint8)
    return bytes(jax.export.export(jax.jit(images_only), platforms=PLATFORMS)(images).serialize())


def load_stablehlo(data: bytes) -> Run:
    """What a file of `encode_stablehlo` computes."""
    call = jax.jit(jax.export.deserialize(bytearray(data)).call)
    return lambda images: jax.device_get(call(images))


def encode_onnx(variables: Mapping[str, Any], metadata: CheckpointMetadata) -> bytes:
    """The network as ONNX, see `onnx_graph.build_model`."""
    from dmlcsr_jax.inference.onnx_graph import build_model

    return build_model(variables, metadata).SerializeToString()


def load_onnx(data: bytes) -> Run:
    """What a file of `encode_onnx` computes, by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def write_files(output: pathlib.Path, files: Mapping[str, bytes | str]) -> None:
    """Writes files into a folder, which is made if need be; all of them or, where the disk is full, none.

    Raises:
      UserError: the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".") as parts:
            for name, content in files.items():
                pathlib.Path(parts, name).write_bytes(content.encode() if isinstance(content, str) else content)
            for name in files:
                pathlib.Path(parts, name).replace(output / name)
    except OSError as error:
        raise UserError(f"--output={output} cannot be written ({error.strerror}); name another folder") from error


def _make_parse(metadata: CheckpointMetadata) -> Callable[[Any, jax.Array], dict[str, jax.Array]]:
    """(variables, [B, H, W, 3] uint8) -> labels [B, H, W] uint8 and logits [B, H, W, C] float32."""
    model = create_model(metadata.spec.num_classes, **{**metadata.model, "dtype": "float32"})

    def parse(variables, images):
        logits = model.apply(variables, normalize(images, metadata.preprocessing), method="parse")
        logits = resize_bilinear(logits, metadata.size)
        return {"labels": jnp.argmax(logits, axis=-1).astype(jnp.uint8), "logits": logits}

    return parse


def _compare(found: Outputs, expected: Outputs) -> Parity:
    difference = float(np.abs(found["logits"] - expected["logits"]).max())
    largest = max(float(np.abs(expected["logits"]).max()), np.finfo(np.float32).tiny)
    return Parity(float((found["labels"] == expected["labels"]).mean()), difference, difference / largest)
