"""Writing checkpoints with Orbax: the newest two and the best are kept, and a run resumes from the newest.

A step folder holds one item per tree of the run (`variables`, and `teacher` once there is one; what only training
needs is in `optimizer`), `window` (the unfinished line of the log, JSON) and `model_metadata` (JSON). Inference reads
`teacher` or `variables`, and the metadata.
"""

from collections.abc import Mapping

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import preservation_policy

from dmlcsr_jax.checkpoints import reading
from dmlcsr_jax.checkpoints.metadata import CheckpointMetadata
from dmlcsr_jax.console import print_plain
from dmlcsr_jax.errors import UserError, first_line
from dmlcsr_jax.hosts import is_first
from dmlcsr_jax.paths import Path, absolute, as_path, remove_tree
from dmlcsr_jax.types import PyTree, Variables

UNSCORED = -1.0  # below every score: a checkpoint between evaluations is never the best
Window = dict[str, list[float]]  # sum and count of each loss term since the last line of the log


def open_manager(directory: str | Path) -> ocp.CheckpointManager:
    """A manager that saves in the background and keeps the newest two checkpoints and the best.

    Checkpoints whose score cannot be read are set aside first: Orbax would stop at them.
    """

    def score(metrics: dict[str, float]) -> float:
        return metrics[reading.SCORE]

    keep = [preservation_policy.LatestN(2), preservation_policy.BestN(get_metric_fn=score, n=1)]
    options = ocp.CheckpointManagerOptions(
        best_fn=score,  # without it Orbax writes no metrics
        preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
        cleanup_tmp_directories=True,
    )
    directory = absolute(as_path(directory))
    folders = reading.folders_below(directory)
    _set_aside({folder: "no score" for folder in folders if reading.read_score(folder) is None})
    return ocp.CheckpointManager(directory, options=options)


def save(
    manager: ocp.CheckpointManager,
    step: int,
    trees: Mapping[str, PyTree],
    metadata: CheckpointMetadata,
    *,
    window: Window | None = None,
    score: float = UNSCORED,
) -> None:
    """Starts to save a step; returns before it is on disk, and it counts only once it is whole.

    Args:
      manager: from `open_manager`.
      step: the checkpoint's number.
      trees: item -> tree of arrays; "variables" must be one.
      metadata: what readers must know.
      window: from `Reporter.window`.
      score: the score by which the best checkpoint is chosen.
    """
    if jax.process_count() > 1:  # Orbax wants arrays that know of all hosts
        trees = jax.tree.map(ocp.utils.fully_replicated_host_local_array_to_global_array, dict(trees))
    items: dict[str, ocp.args.CheckpointArgs] = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
    items["window"] = ocp.args.JsonSave(window or {})
    items[reading.METADATA] = ocp.args.JsonSave(metadata.to_json())
    manager.save(step, args=ocp.args.Composite(**items), metrics={reading.SCORE: score}, force=True)


def save_variables(directory: str | Path, variables: Variables, metadata: CheckpointMetadata) -> None:
    """Writes a checkpoint of step 0 that holds all that inference reads, and waits until it is whole.

    Raises:
      UserError: there are checkpoints already, or they cannot be written.
    """
    try:
        with open_manager(directory) as manager:
            if manager.all_steps():
                raise UserError(f"{directory} holds checkpoints already; use a new --workdir")
            save(manager, 0, {"variables": variables}, metadata)
    except OSError as error:
        raise UserError(f"{directory} cannot be written ({error.strerror}); use another --workdir") from error


def restore_latest(
    manager: ocp.CheckpointManager, trees: Mapping[str, PyTree]
) -> tuple[dict[str, PyTree] | None, Window]:
    """The trees of the newest checkpoint that can be read and its window, or None and {} if there is no checkpoint.

    A checkpoint that cannot be read (cut short by a full disk, for example) is skipped with a warning, and set aside
    as `STEP.broken` once an older one has been read.

    Args:
      manager: from `open_manager`.
      trees: item -> shapes and dtypes. "teacher" is only restored from a checkpoint that has one.

    Raises:
      UserError: there are checkpoints and none can be read into these trees.
    """
    broken: dict[Path, str] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        folder = as_path(manager.directory) / str(step)
        present = {name: tree for name, tree in trees.items() if name != "teacher" or (folder / name).is_dir()}
        items = {name: ocp.args.StandardRestore(reading.abstract_tree(tree)) for name, tree in present.items()}
        try:
            saved = manager.restore(step, args=ocp.args.Composite(**items, window=ocp.args.JsonRestore()))
        except (MemoryError, PermissionError, TimeoutError, jax.errors.JaxRuntimeError):
            raise  # which says nothing about the file
        except Exception as error:  # Orbax raises many kinds for a broken file
            broken[folder] = first_line(error)
            continue
        _set_aside(broken)
        manager.reload()
        return {name: saved[name] for name in present}, saved["window"]
    if broken:
        reason = next(iter(broken.values()))
        raise UserError(f"{manager.directory}: none of its checkpoints can be read ({reason}); use a new --workdir")
    return None, {}


def _set_aside(broken: Mapping[Path, str]) -> None:
    """Renames broken checkpoints, folder -> reason, to `STEP.broken`, which Orbax does not count among the newest."""
    if is_first():
        for folder, reason in broken.items():
            print_plain(f"warning: {folder} cannot be read as a checkpoint ({reason}); skipped")
            remove_tree(folder.with_suffix(".broken"))
            folder.rename(folder.with_suffix(".broken"))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("set aside")
