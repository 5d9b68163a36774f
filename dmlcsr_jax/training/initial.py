"""What training starts from: random weights, an ImageNet encoder, or another checkpoint."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from dmlcsr_jax.checkpoints import load, load_metadata
from dmlcsr_jax.console import print_plain
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import DMLCSR, init_variables
from dmlcsr_jax.models.pretrained import find_imagenet_weights, load_backbone
from dmlcsr_jax.models.weight_files import read_state_dict
from dmlcsr_jax.paths import as_path, check_path
from dmlcsr_jax.types import Variables

IMAGENET = "imagenet"  # for `pretrained_backbone`: the file in the package that the encoder names
# The layers whose shapes follow the number of classes.
_CLASS_LAYERS = ("parsing_head/conv4", "edge_head/")


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """Where the weights of a run come from.

    Attributes:
      seed: of the random ones.
      pretrained_backbone: `config.model.pretrained_backbone`: a file of ImageNet weights, or "imagenet" for the one of
        the package that the encoder names; "" for none.
      init_from: `config.init_from`: a checkpoint, workdir, exported folder or "portrait"; "" for none.

    Raises:
      UserError: a path is neither local nor in gs://.
    """

    seed: int = 0
    pretrained_backbone: str = ""
    init_from: str = ""

    def __post_init__(self):
        check_path(self.init_from, "config.init_from")
        check_path(self.pretrained_backbone, "config.model.pretrained_backbone")

    @property
    def sources(self) -> list[str]:
        """The files and folders that are read."""
        return [path for path in (self.init_from, self.pretrained_backbone) if path]

    def terms(self) -> tuple[str, ...]:
        """Where the weights come from and on what terms they may be used, a sentence each, for model cards."""
        sentences = []
        if self.pretrained_backbone:
            sentences.append(
                f"The encoder started from {_name(self.pretrained_backbone)}, trained on ImageNet: non-commercial "
                "research and educational purposes; the license of that file applies too."
            )
        if self.init_from:
            terms, inherited = "", ()
            with contextlib.suppress(UserError):  # exporting must not depend on where training started long ago
                metadata = load_metadata(self.init_from)
                terms, inherited = metadata.spec.terms, metadata.inherited_terms
            sentences.append(f"Training started from the weights {_name(self.init_from)}. Terms: {terms or 'unknown'}")
            sentences += inherited
        return tuple(sentences)


def _name(path: str) -> str:
    return pathlib.Path(path).name


def initial_variables(model: DMLCSR, initial: InitialWeights, class_names: Sequence[str]) -> dict[str, Any]:
    """Variables before the first step of training on these classes.

    Prints which layers start fresh because a checkpoint has other classes or no edge heads.

    Raises:
      UserError: a file cannot be read or does not fit the network.
    """
    variables = init_variables(model, initial.seed)
    if initial.pretrained_backbone:
        path = as_path(initial.pretrained_backbone, "config.model.pretrained_backbone")
        if initial.pretrained_backbone == IMAGENET:
            path = find_imagenet_weights(model.backbone)
        variables = load_backbone(variables, read_state_dict(path), model.backbone)
        print_plain(f"encoder from {path}")
    if initial.init_from:
        source, metadata = load(initial.init_from)
        same_classes = metadata.spec.class_names == tuple(class_names)
        variables = transfer(source, variables, initial.init_from, same_classes=same_classes)
    return variables


def transfer(source: Variables, fresh: Variables, name: str, *, same_classes: bool) -> dict[str, Any]:
    """The source's values in the tree of `fresh`; layers that depend on the classes stay fresh if they do not fit.

    They do not fit if the classes have other names or another order, even if their number is the same.

    Args:
      source: `params` and `batch_stats` of a checkpoint.
      fresh: those of the network to be trained.
      name: what to call the checkpoint.
      same_classes: whether both have the same classes in the same order.

    Raises:
      UserError: another layer is missing or of another shape.
    """
    given: dict[str, Any] = traverse_util.flatten_dict(source, sep="/")
    wanted: dict[str, Any] = traverse_util.flatten_dict(fresh, sep="/")
    fresh_layers = []
    for path, value in wanted.items():
        found = given.get(path)
        layer = path.partition("/")[2].rpartition("/")[0]
        follows_classes = layer.startswith(_CLASS_LAYERS)
        if found is not None and found.shape == value.shape and (same_classes or not follows_classes):
            wanted[path] = found
            continue
        if not follows_classes:
            what = "missing there" if found is None else f"{list(found.shape)} there"
            raise UserError(
                f"config.init_from={name}: {path} is {what} and {list(np.shape(value))} here; use the same config.model"
            )
        fresh_layers.append(layer)
    print_plain(f"weights from {name}" + (f"; fresh: {', '.join(dict.fromkeys(fresh_layers))}" if fresh_layers else ""))
    return traverse_util.unflatten_dict(wanted, sep="/")
