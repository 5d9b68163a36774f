"""ONNX graphs of checkpoints, made once by the exporter and kept by content."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterable

from dmlcsr_jax.errors import UserError, first_line
from dmlcsr_jax.files import replacing
from dmlcsr_jax.inference.engines import cache
from dmlcsr_jax.inference.engines.sources import Source
from dmlcsr_jax.models import TestTimeAugmentation
from dmlcsr_jax.paths import Path

# The packages that a conversion needs.
CONVERSION = ("jax", "flax", "onnx", "onnxruntime")
_PACKAGE = pathlib.Path(__file__).parents[2]
_MADE_BY = ("inference/export.py", "inference/onnx_*.py", "models/backbones/*.py", "models/*.py", "ops/*.py")


def onnx_graphs(source: Source, augmentation: TestTimeAugmentation) -> list[bytes]:
    """The content of one ONNX file for each scale of the augmentation.

    A checkpoint is converted once for each scale; the result is compared with the network, and kept in the cache.

    Raises:
      UserError: the checkpoint cannot be read or converted, or only an exported file is there and a scale is not 1.
    """
    if source.onnx and augmentation.scales == (1.0,):
        return [_read(source.onnx)]
    assert source.variables is not None, "a source has an ONNX file or variables"
    folder = cache.folder("onnx")
    content = list(source.content()) if folder else []
    return [_kept(source, scale, folder, content) for scale in augmentation.scales]


def _kept(source: Source, scale: float, folder: pathlib.Path | None, content: Iterable[bytes | str]) -> bytes:
    """The graph for one scale, from the cache if it is there."""
    if not folder:
        return _convert(source, scale)
    path = folder / f"{cache.digest([*content, str(scale), *_code()])}.onnx"
    if path.is_file():
        with contextlib.suppress(OSError):
            path.touch()  # the least used are removed first
        return _read(path)
    data = _convert(source, scale)
    with contextlib.suppress(OSError), replacing(path) as temporary:  # a full disk costs the next run time
        temporary.write_bytes(data)
    cache.keep_newest(folder)
    return data


def _convert(source: Source, scale: float) -> bytes:
    missing = [package for package in CONVERSION if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"{source.name} must first become ONNX, which needs the package {missing[0]}; "
            "pip install 'dmlcsr_jax[onnx]', or use engine jax"
        )
    from dmlcsr_jax.inference.export import export_onnx

    assert source.variables is not None
    variables = source.variables()
    try:
        return export_onnx(variables, source.metadata, scale)
    except UserError:
        raise
    except Exception as error:  # such as a backbone of one's own without `onnx_nodes`
        raise UserError(f"{source.name} cannot become ONNX ({first_line(error)}); use engine jax") from error


def _code() -> Iterable[bytes]:
    """The code that converts: a graph that older code made is not used."""
    for pattern in _MADE_BY:
        yield from (path.read_bytes() for path in sorted(_PACKAGE.glob(pattern)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
