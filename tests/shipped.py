"""Weights in place of those that ship with the package, and what tests of the real ones need."""

from safetensors.numpy import save

from configs import default
from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import exported
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.models import create_model
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.types import Preprocessing
from tests.inference.random_variables import random_variables

MODEL = Experiment.from_config(default.get_config("debug")).model
METADATA = checkpoints.CheckpointMetadata(
    get_spec("celebamask_hq"), MODEL, (64, 48), Preprocessing("BGR"), ("The encoder started from somewhere.",)
)
CARD = {
    "training_data": {"name": "celebamask_hq", "terms": "some", "initial_weights": [], "inherited_terms": ["more"]},
    "scores": None,
    "notes": "## Known failures\n\nMany.",
    "checkpoint": {"run": "first", "step": "7"},
}


def write_exported(folder, variables=None, metadata=METADATA, card=CARD):
    """Writes a folder as --mode=export --formats=safetensors does; returns its variables."""
    variables = variables or random_variables(create_model(metadata.spec.num_classes, **metadata.model))
    folder.mkdir(parents=True)
    (folder / exported.WEIGHTS).write_bytes(save(checkpoints.store(variables)))
    (folder / exported.METADATA).write_text(checkpoints.encode_metadata(metadata, card))
    return variables
