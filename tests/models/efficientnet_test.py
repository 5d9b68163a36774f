"""EfficientNet-Lite0 computes what the PyTorch package does, whose ImageNet weights load into it.

Golden values: the forward pass of `efficientnet-lite-pytorch` 0.1.0 in float64, the strides of its blocks 5 and 11
replaced by dilation 2 and 4 of the blocks behind them, with the parameters of `tests/golden/parameters.py`.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.backbones import get_backbone
from dmlcsr_jax.models.backbones.efficientnet import Stage
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.models.pretrained import architecture, from_torch, load_backbone, to_torch
from tests.golden.parameters import state_dict
from tests.inference.random_variables import random_variables

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NAME = "efficientnet_lite0"
CLASSIFIER = {"_conv_head.weight": (1280, 320, 1, 1), "_bn1.weight": (1280,), "_fc.weight": (1000, 1280)}


@pytest.fixture(scope="module")
def model():
    return DMLCSR(3, backbone=NAME, width=4)


@pytest.fixture(scope="module")
def fresh(model):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.5 + 0.5 * rng.random(leaf.shape, np.float32), shapes)


@pytest.fixture(scope="module")
def imagenet(fresh):
    """The package's state dict, drawn by name."""
    names = to_torch({kind: {"encoder": tree["encoder"]} for kind, tree in fresh.items()}, NAME)
    return state_dict({name: value.shape for name, value in names.items()} | CLASSIFIER)


def test_features_equal_golden(fresh, imagenet):
    with np.load(GOLDEN / "efficientnet_lite0.npz") as file:
        golden = {name: np.moveaxis(array, 1, -1) for name, array in file.items()}
    loaded = load_backbone(fresh, imagenet, NAME)
    with jax.enable_x64(True):
        variables = {k: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), v["encoder"]) for k, v in loaded.items()}
        encoder = get_backbone(NAME, make=LayerFactory(jnp.float64))
        image = jnp.asarray(golden["image"], jnp.float64)
        features = jax.device_get(jax.jit(lambda v, x: encoder.apply(v, x, False))(variables, image))
    middle = dict(zip(("middle_0", "middle_1"), features.middle, strict=True))
    for name, found in {"low": features.low, **middle, "high": features.high}.items():
        assert found.shape == golden[name].shape, name
        assert np.abs(found - golden[name]).max() <= 1e-6 * np.abs(golden[name]).max(), name


def test_imagenet_weights_fill_the_encoder_only(fresh, imagenet):
    loaded = load_backbone(fresh, imagenet, NAME)
    assert loaded["params"]["parsing_head"] is fresh["params"]["parsing_head"]
    exported = to_torch(loaded, NAME)
    for name in imagenet.keys() - CLASSIFIER.keys():
        np.testing.assert_array_equal(exported[name], imagenet[name])
    del imagenet["_blocks.3._bn0.bias"]
    with pytest.raises(UserError, match=r"_blocks\.3\._bn0\.bias \[144\] is missing"):
        load_backbone(fresh, imagenet, NAME)


def test_round_trip_of_the_whole_network(fresh):
    exported = to_torch(fresh, NAME)
    assert {"_conv_stem.weight", "_bn0.running_var", "_blocks.15._project_conv.weight"} <= exported.keys()
    expected = {"num_classes": 3, "backbone": NAME, "width": 4, "edge_heads": True, "dual_graph": True}
    assert architecture(exported) == expected
    jax.tree.map(np.testing.assert_array_equal, from_torch(exported), fresh)


def test_width_sizes_the_heads_only():
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    small, large = (
        jax.eval_shape(DMLCSR(3, backbone=NAME, width=width).init, jax.random.key(0), image)["params"]
        for width in (4, 64)
    )
    assert small["encoder"] == large["encoder"]
    assert large["context"]["conva_0"]["kernel"].shape == (3, 3, 320, 512)


@pytest.mark.parametrize("fields", [{"stem": "plain"}, {"norm": "batch_norm"}, {"stem": "depp"}])
def test_fields_of_resnets_are_refused(fields):
    (name,) = fields
    with pytest.raises(FieldError, match=f"{name} is .*the backbone {NAME} has no {name}"):
        DMLCSR(3, backbone=NAME, **fields)


def test_the_network_trains_and_parses(model):
    variables = random_variables(model)
    images = np.random.default_rng(1).normal(size=(2, 37, 32, 3)).astype(np.float32)
    train = jax.jit(lambda variables, x: model.apply(variables, x, train=True, mutable=["batch_stats"]))
    predictions, updated = train(variables, images)
    parsing = jax.jit(lambda variables, x: model.apply(variables, x, method="parse"))(variables, images)
    shapes = [logits.shape for logits in (*predictions, parsing)]
    assert shapes == [(2, 10, 8, 3), (2, 10, 8, 2), (2, 10, 8, 3), (2, 10, 8, 3)]
    assert all(np.isfinite(logits).all() for logits in (*predictions, parsing))
    statistics = zip(*map(jax.tree.leaves, (variables["batch_stats"], updated["batch_stats"])), strict=True)
    assert not any(np.allclose(before, after) for before, after in statistics)


def test_remat_changes_nothing():
    stages = (
        Stage(1, 4, 1, 1, 3),
        Stage(2, 4, 2, 2, 3),
        Stage(2, 6, 1, 2, 5),
        Stage(2, 6, 2, 2, 3),
        Stage(2, 8, 1, 1, 5),
    )
    images = np.random.default_rng(1).normal(size=(2, 24, 24, 3))
    rng = np.random.default_rng(0)

    def gradients(remat, variables=None):
        encoder = get_backbone(NAME, make=LayerFactory(jnp.float64), stages=stages, remat=remat)
        if variables is None:
            shapes = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, False), images)
            variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)

        def loss(params):
            features, _ = encoder.apply({**variables, "params": params}, images, True, mutable=["batch_stats"])
            return sum(jnp.square(x).sum() for x in jax.tree.leaves(features))

        return variables, jax.device_get(jax.jit(jax.grad(loss))(variables["params"]))

    with jax.enable_x64(True):
        variables, kept = gradients(False)
        recomputed = gradients(True, variables)[1]
    assert np.abs(kept["conv_stem"]["kernel"]).max() > 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8 * np.abs(b).max()), recomputed, kept
    )
