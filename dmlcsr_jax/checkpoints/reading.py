"""Finding and loading checkpoints: of a workdir, of an exported folder, or shipped with the package.

Only loading the variables needs JAX and Orbax, which are imported then.
"""

import json
from typing import Any

from dmlcsr_jax.checkpoints import exported
from dmlcsr_jax.checkpoints.metadata import CheckpointMetadata
from dmlcsr_jax.errors import UserError, first_line
from dmlcsr_jax.fields import check_choice
from dmlcsr_jax.paths import Path, absolute, as_path, is_remote, reaching
from dmlcsr_jax.types import PyTree

SCORE = "score"
ITEMS = {"student": "variables", "teacher": "teacher"}
METADATA = "model_metadata"
_METADATA_BEFORE = "card"  # of version 0.1.0


def step_folders(workdir: Path) -> list[Path]:
    """The checkpoints of a workdir, the newest first; a save that was killed leaves none."""
    return folders_below(workdir / "checkpoints")


def folders_below(directory: Path) -> list[Path]:
    """The step folders of a directory of checkpoints, the newest first."""
    steps = [path for path in directory.iterdir() if path.name.isdigit()] if directory.is_dir() else []
    return sorted(filter(_is_whole, steps), key=lambda path: int(path.name), reverse=True)


def _is_whole(folder: Path) -> bool:
    """Whether Orbax has finished a step: it renames a local folder then, and writes this file into a remote one."""
    return not is_remote(folder) or (folder / "commit_success.txt").exists()


def read_score(folder: Path) -> float | None:
    """The score of a step folder; None if it cannot be read."""
    try:
        return float(_read_json(folder / "metrics" / "metrics")[SCORE])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def find_checkpoint(path: str | Path) -> Path:
    """The folder to load from.

    Args:
      path: a step folder or an exported folder, which is returned as it is; a workdir, of which the best checkpoint
        (else the newest) is taken; or the name of weights that ship with the package, such as "portrait". A folder of
        that name with a checkpoint in it comes first.

    Raises:
      UserError: there is no checkpoint.
    """
    name, path = str(path), absolute(as_path(path))
    with reaching(path):
        return _find_checkpoint(name, path)


def _find_checkpoint(name: str, path: Path) -> Path:
    if (path / ITEMS["student"]).is_dir() or exported.is_exported(path):
        return path
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    steps = folders_below(folder)
    if not steps and folder == path and name in exported.shipped_names():
        return exported.shipped_directory() / name
    if path.is_file():
        advice = "convert it first with --mode=convert" if path.suffix in (".pth", ".npz") else "name its folder"
        raise UserError(f"{path} is a file, not a workdir or a folder of weights; {advice}")
    if not folder.is_dir():
        shipped = ", ".join(exported.shipped_names())
        raise UserError(
            f"{path}: no such workdir or checkpoint; train one with --mode=train"
            + (f", or use weights that ship with the package: {shipped}" if shipped else "")
        )
    scores = {step: score for step in steps if (score := read_score(step)) is not None}
    if not scores:
        raise UserError(f"{folder}: no checkpoint in it; train one with --mode=train")
    return max(scores, key=lambda step: (scores[step], int(step.name)))


def is_shipped(path: str | Path) -> bool:
    """Whether `find_checkpoint` finds weights that ship with the package; UserError if it finds none."""
    return find_checkpoint(path).parent == exported.shipped_directory()


def load(path: str | Path, weights: str | None = None) -> tuple[dict[str, Any], CheckpointMetadata]:
    """Variables and metadata of a checkpoint; those of the edge heads may be absent.

    Args:
      path: as in `find_checkpoint`.
      weights: "student" or "teacher"; None for the teacher if there is one. An exported folder has only one network.

    Raises:
      UserError: there is no checkpoint, or it cannot be read.
    """
    folder = find_checkpoint(path)
    metadata = load_metadata(folder)
    item = find_item(folder, weights)
    try:
        if exported.is_exported(folder):
            return exported.read_variables(folder, metadata), metadata
        import jax
        import orbax.checkpoint as ocp

        from dmlcsr_jax.models import create_model, init_variables

        model = create_model(metadata.spec.num_classes, **metadata.model)
        abstract = abstract_tree(jax.eval_shape(lambda: init_variables(model, seed=0)))
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(folder / item, abstract), metadata
    except Exception as error:  # Orbax raises many kinds for a broken file
        raise _unreadable(folder, error) from error


def find_item(folder: Path, weights: str | None) -> str:
    """The item of a step folder that holds these weights; UserError if there is none."""
    if weights is not None:
        check_choice("weights", weights, ITEMS)
    if weights == "teacher" and not (folder / ITEMS["teacher"]).is_dir():
        if exported.is_exported(folder):
            raise UserError(f"{folder} holds one exported network, and no teacher; leave out --weights")
        raise UserError(f"{folder} has no teacher: self-regulation had not begun; use --weights=student")
    return ITEMS[weights or choose_weights(folder)]


def choose_weights(path: str | Path) -> str:
    """The weights that `load` takes unless told otherwise: "teacher" if there is one, else "student"."""
    return "teacher" if (find_checkpoint(path) / ITEMS["teacher"]).is_dir() else "student"


def load_metadata(path: str | Path) -> CheckpointMetadata:
    """The metadata alone; `path` as for `load`.

    Raises:
      UserError: there is no checkpoint, or it cannot be read.
    """
    folder = find_checkpoint(path)
    item = _METADATA_BEFORE if (folder / _METADATA_BEFORE).is_dir() else METADATA
    try:
        if exported.is_exported(folder):
            return exported.read_metadata(folder)
        return CheckpointMetadata.from_json(_read_json(folder / item / "metadata"))
    except Exception as error:  # a broken file may hold anything
        raise _unreadable(folder, error) from error


def abstract_tree(tree: PyTree) -> PyTree:
    """Shapes and dtypes, placed on this process's devices whatever the number that saved them."""
    import jax

    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def _read_json(path: Path) -> Any:
    """What Orbax wrote as JSON; reading it without Orbax takes no second to import."""
    return json.loads(path.read_text(encoding="utf-8"))


def _unreadable(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder} cannot be read as a checkpoint ({first_line(error)})")
