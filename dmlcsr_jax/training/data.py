"""The training images of a run, as its configuration wants them."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.pipeline.input_pipeline import one_pass_batches, train_batches
from dmlcsr_jax.pipeline.label_noise import LabelNoise, NoisyLabels
from dmlcsr_jax.pipeline.transforms import Augmentation
from dmlcsr_jax.types import Batch


def training_batches(config: ConfigDict, dataset: Dataset, start_step: int) -> Iterator[Batch]:
    """This host's batches from a step on, without end; see `input_pipeline.train_batches`."""
    return train_batches(start_step=start_step, **_arguments(config, dataset))


def one_pass(config: ConfigDict, dataset: Dataset, epoch: int) -> Iterator[Batch]:
    """This host's part of one pass over all training images; see `input_pipeline.one_pass_batches`."""
    return one_pass_batches(epoch=epoch, **_arguments(config, dataset))


def _arguments(config: ConfigDict, dataset: Dataset) -> dict:
    fields = ("scale", "rotation", "rotation_probability", "flip_probability", "color_jitter")
    source, noise = dataset.source("train"), LabelNoise(**config.label_noise)
    return {
        "source": NoisyLabels(source, dataset.spec, noise, config.seed) if noise.share else source,
        "spec": dataset.spec,
        "size": (config.input.height, config.input.width),
        "batch_size": config.training.batch_size,
        "augmentation": Augmentation(**{name: config.input[name] for name in fields}),
        "seed": config.seed,
        "num_workers": config.input.num_workers,
    }
