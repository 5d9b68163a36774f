"""Orbax checkpoints: the newest two and the best are kept, each with a card that says how to use it.

A step folder holds three items: `variables` (parameters and batch statistics, all that inference reads),
`optimizer` (what only training needs) and `card` (classes, network, input convention: JSON).
"""

import dataclasses
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from dmlcsr_jax.console import console, quiet
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training.state import TrainState, create_model, init_variables
from dmlcsr_jax.types import InputConvention

SCORE = "score"
UNSCORED = -1.0  # below every score: a checkpoint between evaluations is never the best


@dataclasses.dataclass(frozen=True)
class Card:
    """What a reader of a checkpoint must know.

    Attributes:
      spec: the classes.
      model: the fields of `config.model`.
      size: (height, width) of the network's input.
      convention: channel order, mean and deviation of the network's input.
    """

    spec: FaceSpec
    model: dict[str, Any]
    size: tuple[int, int]
    convention: InputConvention

    def to_json(self) -> dict[str, Any]:
        """The card as plain JSON values."""
        return {
            "spec": dataclasses.asdict(self.spec),
            "model": dict(self.model),
            "size": list(self.size),
            "convention": self.convention._asdict(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Card":
        """The reverse of `to_json`."""
        spec = dict(values["spec"])
        spec["class_names"] = tuple(spec["class_names"])
        spec["flip_pairs"] = tuple(map(tuple, spec["flip_pairs"]))
        spec["palette"] = tuple(map(tuple, spec["palette"]))
        spec["score_groups"] = {name: tuple(members) for name, members in spec["score_groups"].items()}
        convention = values["convention"]
        return cls(
            FaceSpec(**spec),
            dict(values["model"]),
            tuple(values["size"]),
            InputConvention(convention["channel_order"], tuple(convention["mean"]), tuple(convention["std"])),
        )


def open_manager(directory: str | pathlib.Path) -> ocp.CheckpointManager:
    """A manager that saves in the background and keeps the newest two checkpoints and the best."""

    def score(metrics: dict[str, float]) -> float:
        return metrics[SCORE]

    keep = [preservation_policy.LatestN(2), preservation_policy.BestN(get_metric_fn=score, n=1)]
    options = ocp.CheckpointManagerOptions(
        best_fn=score,  # without it Orbax writes no metrics
        preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
        cleanup_tmp_directories=True,
    )
    return ocp.CheckpointManager(pathlib.Path(directory).absolute(), options=options)


def save(manager: ocp.CheckpointManager, state: TrainState, card: Card, score: float = UNSCORED) -> None:
    """Starts to save a state; returns before it is on disk, and it counts only once it is whole.

    Args:
      manager: from `open_manager`.
      state: the state; the step's number is the checkpoint's.
      card: what readers must know.
      score: what "best" is judged by.
    """
    manager.save(
        int(state.step),
        args=ocp.args.Composite(
            variables=ocp.args.StandardSave(state.variables),
            optimizer=ocp.args.StandardSave({"step": state.step, "opt_state": state.opt_state}),
            card=ocp.args.JsonSave(card.to_json()),
        ),
        metrics={SCORE: score},
        force=True,
    )


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


def restore_latest(manager: ocp.CheckpointManager, state: TrainState) -> TrainState | None:
    """The newest state that can be read, or None if there is no checkpoint.

    A checkpoint that cannot be read (cut short by a full disk, say) is passed over with a warning.

    Raises:
      UserError: there are checkpoints and none can be read into this network.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    for step in steps:
        args = ocp.args.Composite(
            variables=ocp.args.StandardRestore(_abstract(state.variables)),
            optimizer=ocp.args.StandardRestore(_abstract({"step": state.step, "opt_state": state.opt_state})),
        )
        try:
            saved = manager.restore(step, args=args)
        except Exception as error:  # Orbax raises many kinds for a broken file
            console.print(f"warning: {_refusal(pathlib.Path(manager.directory) / str(step), error)}; it is passed over")
            continue
        return state.replace(
            step=saved.optimizer["step"],
            opt_state=saved.optimizer["opt_state"],
            params=saved.variables["params"],
            batch_stats=saved.variables["batch_stats"],
        )
    if steps:
        raise UserError(f"{manager.directory}: none of its checkpoints can be read; use a new --workdir")
    return None


def exist(workdir: pathlib.Path) -> bool:
    """Whether a workdir has a checkpoint that is whole; a save that was killed leaves only a temporary folder."""
    folder = workdir / "checkpoints"
    return folder.is_dir() and any(path.name.isdigit() for path in folder.iterdir())


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
    with quiet(), ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        steps = manager.all_steps()
        if not steps:
            raise UserError(f"{folder}: no checkpoint in it; train one with --mode=train")
        scores = {step: (manager.metrics(step) or {}).get(SCORE, UNSCORED) for step in steps}
        return folder / str(max(steps, key=lambda step: (scores[step], step)))


def load(path: str | pathlib.Path) -> tuple[dict[str, Any], Card]:
    """Variables and card of a workdir's best checkpoint, or of the step folder named.

    Raises:
      UserError: nothing there, or it cannot be read.
    """
    folder = find_checkpoint(path)
    card = load_card(folder)
    try:
        model = create_model(card.spec.num_classes, ConfigDict(card.model))
        abstract = _abstract(jax.eval_shape(lambda: init_variables(model, seed=0)))
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(folder / "variables", abstract), card
    except Exception as error:  # Orbax raises many kinds for a broken file
        raise _refusal(folder, error) from error


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
