"""Every field of the configuration that has a range is refused outside of it, in one line that names it."""

import math

import jax
import pytest
from flax.traverse_util import flatten_dict

from configs import default
from dmlcsr_jax import datasets
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training.experiment import Experiment

BAD_VALUES = {
    "seed": -1,
    "profile": -1,
    "dataset.name": "celeba",
    "dataset.bad_files": "ignore",
    "dataset.exif": "rotate",
    "dataset.synthetic.train": 0,
    "dataset.synthetic.val": -1,
    "dataset.synthetic.test": -1,
    "dataset.synthetic.size": 16,
    "dataset.synthetic.seed": -1,
    "input.height": 0,
    "input.width": -473,
    "input.channel_order": "GBR",
    "input.scale": 1.0,
    "input.rotation": -1.0,
    "input.rotation_probability": 1.5,
    "input.flip_probability": -0.5,
    "input.color_jitter": 2.0,
    "input.zoom": 0.5,
    "input.shift": -0.1,
    "input.surroundings": 2.0,
    "input.occlusion": 2.0,
    "input.gray": 1.5,
    "input.darkening": -0.5,
    "input.blur": 1.1,
    "input.noise": math.nan,
    "input.compression": -1.0,
    "input.num_workers": -1,
    "input.rare_class_sampling": 1.5,
    "input.drawn_faces": -0.1,
    "label_noise.share": 1.1,
    "label_noise.boundary": -0.1,
    "label_noise.swap": 2.0,
    "label_noise.drop": math.nan,
    "model.backbone": "resnet152",
    "model.width": 0,
    "model.stem": "depp",
    "model.norm": "layer_norm",
    "model.dtype": "float16",
    "loss.lovasz": -1.0,
    "loss.cross_entropy": math.nan,
    "loss.binary_edge": -1.0,
    "loss.category_edge": -1.0,
    "loss.binary_edge_attention": -1.0,
    "loss.category_edge_attention": -1.0,
    "loss.distill_parsing": math.inf,
    "loss.distill_binary_edge": -1.0,
    "loss.distill_category_edge": -1.0,
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.0,
    "optimizer.reference_batch_size": -28,
    "optimizer.backbone_factor": 0.0,
    "optimizer.momentum": 1.0,
    "optimizer.weight_decay": -1e-4,
    "optimizer.schedule": "linear",
    "optimizer.power": 0.0,
    "optimizer.minimum_factor": 2.0,
    "optimizer.warmup_epochs": -1,
    "self_regulation.epochs_before_cycles": -1,
    "self_regulation.cycle_epochs": 0,
    "self_regulation.learning_rate_factor": 0.0,
    "self_regulation.target": "labels",
    "self_regulation.soften": "heads,lovasz",
    "self_regulation.confidence": 1.1,
    "training.batch_size": 0,
    "training.accumulate_steps": 0,
    "training.epochs": 0,
    "training.log_every": -1,
    "training.checkpoint_every": -1,
    "training.checkpoint_every_minutes": -0.5,
    "evaluation.every_epochs": -1,
    "evaluation.split": "validation",
    "evaluation.batch_size": 0,
    "evaluation.protocol": "flip",
}
# Paths, which are checked when they are read, and switches, whose every value is right.
UNCHECKED = {
    "init_from",
    "class_weights",
    "dataset.path",
    "dataset.terms",
    "dataset.data_dir",
    "dataset.keep_copies",
    "dataset.folder.val_share",
    "dataset.celebamask_hq.merge_order",
    "dataset.celebamask_hq.labels",
    "model.pretrained_backbone",
    "model.edge_heads",
    "model.dual_graph",
    "model.remat",
    "self_regulation.enabled",
    "self_regulation.self_ensemble",
    "self_regulation.distillation",
    "self_regulation.restart",
}


def config_with(name, value):
    config = default.get_config("debug")
    config.update_from_flattened_dict({name: value})
    return config


def test_every_field_is_listed():
    assert set(flatten_dict(default.get_config().to_dict(), sep=".")) == set(BAD_VALUES) | UNCHECKED


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused_and_its_field_named(name, tmp_path):
    config = config_with(name, BAD_VALUES[name])
    config.dataset.data_dir = str(tmp_path)
    with pytest.raises(UserError) as refusal:
        datasets.prepare(Experiment.from_config(config).dataset)  # the data set checks its own section
    text = str(refusal.value)
    assert text.startswith(f"config.{name} is {BAD_VALUES[name]!r}; it ") and "\n" not in text
    assert not list(tmp_path.iterdir())


def test_merge_order_is_checked_by_its_data_set(tmp_path):
    config = config_with("dataset.celebamask_hq.merge_order", "skin,nose")
    config.dataset.update(name="celebamask_hq", path=str(tmp_path))
    with pytest.raises(UserError, match=r"config\.dataset\.celebamask_hq\.merge_order lacks"):
        datasets.prepare(Experiment.from_config(config).dataset)


def test_float64_needs_the_64_bit_mode():
    config = config_with("model.dtype", "float64")
    with pytest.raises(UserError, match=r"config\.model\.dtype is 'float64'; that needs JAX_ENABLE_X64=1"):
        Experiment.from_config(config)
    with jax.enable_x64(True):
        assert Experiment.from_config(config).model["dtype"] == "float64"


def test_the_defaults_of_the_settings_are_those_of_the_configuration():
    experiment = Experiment.from_config(default.get_config())
    for section in (
        "augmentation",
        "sampling",
        "label_noise",
        "loss",
        "optimizer",
        "regulation",
        "training",
        "evaluation",
    ):
        settings = getattr(experiment, section)
        assert settings == type(settings)()


def test_the_learning_rate_is_for_batches_of_the_reference_size():
    config = default.get_config()
    config.training.batch_size, config.optimizer.reference_batch_size = 112, 28
    scaled = Experiment.from_config(config).optimizer
    assert scaled.learning_rate == pytest.approx(4e-3)
    assert scaled.for_batch(112) == scaled  # once
