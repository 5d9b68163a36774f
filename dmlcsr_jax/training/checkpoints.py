"""Orbax checkpoints: the newest two and the best are kept, each with a card that says how to use it.

A step folder holds these items: `variables` (the student's parameters and batch statistics), `teacher` (its own, once
there is one), `optimizer` (what only training needs), `window` (the log's line that was begun: JSON) and `card`
(classes, network, input convention: JSON). Inference reads `teacher` or `variables`, and `card`.
"""

import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from dmlcsr_jax.console import console
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.hosts import is_first
from dmlcsr_jax.training.card import Card
from dmlcsr_jax.training.state import TrainState, create_model, init_variables

SCORE = "score"
UNSCORED = -1.0  # below every score: a checkpoint between evaluations is never the best
ITEMS = {"student": "variables", "teacher": "teacher"}


def open_manager(directory: str | pathlib.Path) -> ocp.CheckpointManager:
    """A manager that saves in the background and keeps the newest two checkpoints and the best.

    Checkpoints whose score cannot be read are set aside first: Orbax would stop at them.
    """

    def score(metrics: dict[str, float]) -> float:
        return metrics[SCORE]

    keep = [preservation_policy.LatestN(2), preservation_policy.BestN(get_metric_fn=score, n=1)]
    options = ocp.CheckpointManagerOptions(
        best_fn=score,  # without it Orbax writes no metrics
        preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
        cleanup_tmp_directories=True,
    )
    _set_aside([folder for folder in _step_folders(pathlib.Path(directory)) if read_score(folder) is None])
    return ocp.CheckpointManager(pathlib.Path(directory).absolute(), options=options)


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    card: Card,
    window: dict[str, list[float]] | None = None,
    score: float = UNSCORED,
) -> None:
    """Starts to save a state; returns before it is on disk, and it counts only once it is whole.

    Args:
      manager: from `open_manager`.
      state: the state; the step's number is the checkpoint's.
      card: what readers must know.
      window: from `Reporter.window`.
      score: what "best" is judged by.
    """
    if jax.process_count() > 1:  # Orbax wants arrays that know of all hosts
        state = jax.tree.map(ocp.utils.fully_replicated_host_local_array_to_global_array, state)
    items = {
        "variables": ocp.args.StandardSave(state.variables),
        "optimizer": ocp.args.StandardSave(_optimizer_item(state)),
        "window": ocp.args.JsonSave(window or {}),
        "card": ocp.args.JsonSave(card.to_json()),
    }
    if state.teacher is not None:
        items["teacher"] = ocp.args.StandardSave(state.teacher)
    manager.save(int(state.step), args=ocp.args.Composite(**items), metrics={SCORE: score}, force=True)


def _optimizer_item(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "cycle": state.cycle, "opt_state": state.opt_state}


def save_variables(directory: str | pathlib.Path, variables: dict[str, Any], card: Card) -> None:
    """Writes a checkpoint, of step 0, that holds all that inference reads, and waits until it is whole.

    Raises:
      UserError: there are checkpoints already, or they cannot be written.
    """
    try:
        with open_manager(directory) as manager:
            if manager.all_steps():
                raise UserError(f"{directory} holds checkpoints already; use a new --workdir")
            args = ocp.args.Composite(
                variables=ocp.args.StandardSave(variables), card=ocp.args.JsonSave(card.to_json())
            )
            manager.save(0, args=args, metrics={SCORE: UNSCORED})
    except OSError as error:
        raise UserError(f"{directory} cannot be written ({error.strerror}); use another --workdir") from error


def _abstract(tree: Any) -> Any:
    """Shapes and dtypes, placed on this process's devices whatever the number that saved them."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def restore_latest(
    manager: ocp.CheckpointManager, state: TrainState
) -> tuple[TrainState | None, dict[str, list[float]]]:
    """The newest state that can be read and its window, or None and {} if there is no checkpoint.

    A checkpoint that cannot be read (cut short by a full disk, say) is passed over with a warning, and set aside as
    `STEP.broken` once an older one was read.

    Args:
      manager: from `open_manager`.
      state: a first state's shapes and dtypes.

    Raises:
      UserError: there are checkpoints and none can be read into this network.
    """
    broken = []
    for step in sorted(manager.all_steps(), reverse=True):
        folder = pathlib.Path(manager.directory) / str(step)
        try:
            restored = _restore(manager, step, state, has_teacher=(folder / ITEMS["teacher"]).is_dir())
        except Exception:  # Orbax raises many kinds for a broken file
            broken.append(folder)
            continue
        _set_aside(broken)
        manager.reload()
        return restored
    if broken:
        raise UserError(f"{manager.directory}: none of its checkpoints can be read; use a new --workdir")
    return None, {}


def _restore(
    manager: ocp.CheckpointManager, step: int, state: TrainState, has_teacher: bool
) -> tuple[TrainState, dict[str, list[float]]]:
    items = {
        "variables": ocp.args.StandardRestore(_abstract(state.variables)),
        "optimizer": ocp.args.StandardRestore(_abstract(_optimizer_item(state))),
        "window": ocp.args.JsonRestore(),
    }
    if has_teacher:
        items["teacher"] = ocp.args.StandardRestore(_abstract(state.variables))
    saved = manager.restore(step, args=ocp.args.Composite(**items))
    teacher = saved.teacher if has_teacher else None
    return state.replace(**saved.variables, **saved.optimizer, teacher=teacher), saved.window


def _set_aside(broken: list[pathlib.Path]) -> None:
    """Renames broken checkpoints to `STEP.broken`, out of Orbax's sight, which else counted them among the newest."""
    if is_first():
        for folder in broken:
            console.print(f"warning: {folder} cannot be read as a checkpoint; it is passed over")
            shutil.rmtree(folder.with_suffix(".broken"), ignore_errors=True)
            folder.rename(folder.with_suffix(".broken"))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("set aside")


def read_score(folder: pathlib.Path) -> float | None:
    """What a step folder was scored; None if that cannot be read."""
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler(filename="metrics")) as reader:
            return float(reader.restore(folder / "metrics")[SCORE])
    except Exception:  # Orbax raises many kinds for a broken file
        return None


def step_folders(workdir: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints of a workdir, the newest first; a save that was killed leaves only a temporary folder."""
    return _step_folders(workdir / "checkpoints")


def _step_folders(directory: pathlib.Path) -> list[pathlib.Path]:
    steps = [path for path in directory.iterdir() if path.name.isdigit()] if directory.is_dir() else []
    return sorted(steps, key=lambda path: int(path.name), reverse=True)


def find_checkpoint(path: str | pathlib.Path) -> pathlib.Path:
    """The step folder to use: `path` itself, or the best (else the newest) below a workdir.

    Raises:
      UserError: there is no checkpoint.
    """
    path = pathlib.Path(path).absolute()
    if (path / "variables").is_dir():
        return path
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    if not folder.is_dir():
        raise UserError(f"{path}: no such workdir or checkpoint; train one with --mode=train")
    scores = {step: read_score(step) for step in _step_folders(folder)}
    readable = [step for step in scores if scores[step] is not None]
    if not readable:
        raise UserError(f"{folder}: no checkpoint in it; train one with --mode=train")
    return max(readable, key=lambda step: (scores[step], int(step.name)))


def load(path: str | pathlib.Path, weights: str | None = None) -> tuple[dict[str, Any], Card]:
    """Variables and card of a workdir's best checkpoint, or of the step folder named.

    Args:
      path: workdir or step folder.
      weights: "student" or "teacher"; None for the teacher where there is one.

    Raises:
      UserError: nothing there, or it cannot be read.
    """
    folder = find_checkpoint(path)
    card = load_card(folder)
    if weights == "teacher" and not (folder / ITEMS["teacher"]).is_dir():
        raise UserError(f"{folder} has no teacher: no cycle of self-regulation had ended; use --weights=student")
    item = ITEMS[weights or choose_weights(folder)]
    try:
        model = create_model(card.spec.num_classes, ConfigDict(card.model))
        abstract = _abstract(jax.eval_shape(lambda: init_variables(model, seed=0)))
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(folder / item, abstract), card
    except Exception as error:  # Orbax raises many kinds for a broken file
        raise _refusal(folder, error) from error


def choose_weights(path: str | pathlib.Path) -> str:
    """The weights that `load` takes unless told otherwise: "teacher" where there is one, else "student"."""
    return "teacher" if (find_checkpoint(path) / ITEMS["teacher"]).is_dir() else "student"


def load_card(path: str | pathlib.Path) -> Card:
    """The card alone; `path` as for `load`.

    Raises:
      UserError: nothing there, or it cannot be read.
    """
    folder = find_checkpoint(path)
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            return Card.from_json(reader.restore(folder / "card"))
    except Exception as error:
        raise _refusal(folder, error) from error


def _refusal(folder: pathlib.Path, error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(f"{folder} cannot be read as a checkpoint ({reason})")
