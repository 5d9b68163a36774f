"""Where the network of a parser is stored, and which engines can run it."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import CheckpointMetadata, exported
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.engines import cache
from dmlcsr_jax.paths import Path, absolute, as_path, reaching
from dmlcsr_jax.types import Variables

ONNX, STABLEHLO = "model.onnx", "model.stablehlo"


@dataclasses.dataclass(frozen=True)
class Source:
    """A network that engines can run.

    Attributes:
      name: the folder or file, for messages.
      metadata: classes, network, input size and preprocessing.
      variables: reads `params` and `batch_stats`; None for exported files, which hold a graph alone.
      content: what tells these variables from others, for a name in the cache.
      onnx: the same network as an exported file, or None.
      stablehlo: likewise.
      shipped: whether it ships with the package.
    """

    name: str
    metadata: CheckpointMetadata
    variables: Callable[[], Variables] | None = None
    content: Callable[[], Iterable[bytes | str]] = tuple
    onnx: Path | None = None
    stablehlo: Path | None = None
    shipped: bool = False


def find_source(path: str | os.PathLike[str], weights: str | None = None) -> Source:
    """The network at a path.

    Args:
      path: as for `checkpoints.find_checkpoint`; or an exported `model.onnx` or `model.stablehlo` with its model card
        beside it, or a folder of these.
      weights: "student" or "teacher"; None for the teacher if there is one.

    Raises:
      UserError: there is no network, or what describes it cannot be read.
    """
    with reaching(path):
        files = exported_files(path)
    if files:
        return _exported_source(files, weights)
    folder = checkpoints.find_checkpoint(os.fspath(path))
    metadata, item = checkpoints.load_metadata(folder), checkpoints.find_item(folder, weights)
    stored = folder / (exported.WEIGHTS if checkpoints.is_exported(folder) else item)
    return Source(
        str(folder),
        metadata,
        lambda: checkpoints.load(folder, weights)[0],
        lambda: (json.dumps(metadata.to_json(), sort_keys=True), *cache.file_parts(stored)),
        onnx=_file_of_same_weights(folder),
        shipped=folder.parent == exported.shipped_directory(),
    )


def variables_content(variables: Variables, metadata: CheckpointMetadata) -> Iterable[bytes | str]:
    """`Source.content` of variables in memory."""
    yield json.dumps(metadata.to_json(), sort_keys=True)
    yield from _arrays("", variables)


def _arrays(path: str, tree: Any) -> Iterable[bytes | str]:
    if isinstance(tree, Mapping):
        for name in sorted(tree):
            yield from _arrays(f"{path}/{name}", tree[name])
    else:
        array = np.asarray(tree)
        yield f"{path} {array.dtype} {array.shape}"
        yield array.tobytes()


def exported_files(path: str | os.PathLike[str]) -> list[Path]:
    """The exported graphs that a path names: a file, or those in a folder without a checkpoint; else none."""
    path = as_path(path)
    if path.suffix in (".onnx", ".stablehlo") and not path.is_dir():
        return [path]
    if checkpoints.is_exported(path) or (path / "checkpoints").is_dir():
        return []
    return [file for file in (path / ONNX, path / STABLEHLO) if file.is_file()]


def _exported_source(files: Sequence[Path], weights: str | None) -> Source:
    """The source of one file, or of two if both are of the same network."""
    if weights == "teacher":
        raise UserError(f"{files[0]} holds one exported network, and no teacher; leave out --weights")
    cards = [_read_card(file) for file in files]
    same = [file for file, card in zip(files, cards, strict=True) if _origin(card) == _origin(cards[0])]
    by_suffix = {file.suffix: file for file in same}
    return Source(
        str(files[0]),
        _read_metadata(files[0], cards[0]),
        onnx=by_suffix.get(".onnx"),
        stablehlo=by_suffix.get(".stablehlo"),
        shipped=absolute(files[0]).parent.parent == exported.shipped_directory(),
    )


def _file_of_same_weights(folder: Path) -> Path | None:
    """The `model.onnx` beside exported weights, if both were exported together."""
    file, stored = folder / ONNX, folder / exported.WEIGHTS
    if not (file.is_file() and stored.is_file() and _card_path(file).is_file()):
        return None
    same = _read_card(file).get("weights") == hashlib.sha256(stored.read_bytes()).hexdigest()
    return file if same else None


def _origin(card: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(card.get(name) for name in ("metadata", "checkpoint", "weights"))


def _card_path(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _read_card(file: Path) -> dict[str, Any]:
    path = _card_path(file)
    if not file.is_file():
        raise UserError(f"{file} is not a file; name one that --mode=export wrote")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UserError(
            f"{file} lacks its model card {path.name} beside it; copy both of what --mode=export wrote"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a model card ({error}); export again") from error


def _read_metadata(file: Path, card: Mapping[str, Any]) -> CheckpointMetadata:
    try:
        return CheckpointMetadata.from_json(card["metadata"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{_card_path(file)} does not describe the network (field metadata: {error!r}); export it again"
        ) from error
