"""The network computes what the published one does, in every size, with or without its optional parts."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.models import DMLCSR, parse, parsing, prepare_variables
from dmlcsr_jax.models.backbones import BACKBONES, Features, get_backbone, get_preprocessing
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.models.pretrained import from_torch, to_torch
from tests.golden.parameters import state_dict

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
IMAGE = jax.ShapeDtypeStruct((1, 65, 49, 3), jnp.float32)


def published(num_classes, dtype):
    variables = from_torch(state_dict(json.loads((GOLDEN / f"state_dict_shapes_{num_classes}.json").read_text())))
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), variables)


def load(name, dtype):
    with np.load(GOLDEN / f"{name}.npz") as file:
        golden = dict(file)
    return golden, jnp.asarray(np.moveaxis(golden["image"], 1, -1), dtype)


def assert_close(actual, expected, bound):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert np.abs(actual - expected).max() <= bound * np.abs(expected).max()


def assert_heads(predictions, golden, bound):
    for head, logits in predictions._asdict().items():
        assert_close(np.moveaxis(np.asarray(logits), -1, 1), golden[head], bound)


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.float64, 1e-6), (jnp.float32, 1e-4)], ids=["float64", "float32"])
@pytest.mark.parametrize("num_classes", [19, 11])
def test_evaluation_equals_golden(num_classes, dtype, bound):
    with jax.enable_x64(dtype == jnp.float64):
        golden, images = load(f"forward_eval_{num_classes}", dtype)
        predictions = jax.jit(DMLCSR(num_classes, dtype=dtype).apply)(published(num_classes, dtype), images)
        assert all(logits.dtype == dtype for logits in predictions)
        assert_heads(predictions, golden, bound)


def test_training_equals_golden():
    with jax.enable_x64(True):
        golden, images = load("forward_train_19", jnp.float64)
        variables = published(19, jnp.float64)
        model = DMLCSR(19, dtype=jnp.float64)
        predictions, updated = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))(
            variables, images
        )
        assert_heads(predictions, golden, 1e-6)
        statistics = to_torch({"params": variables["params"], **updated})
        names = [name for name in golden if "running" in name]
        assert len(names) == 18
        for name in names:
            assert_close(statistics[name], golden[name], 1e-6)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree["params"]))


def initial(model, **options):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(IMAGE.shape), **options))


def test_published_size():
    assert count(initial(DMLCSR(19))) == 68_565_514
    assert count(initial(DMLCSR(19, edge_heads=False))) == count(initial(DMLCSR(19), method="parse")) == 68_060_213


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_traces(backbone):
    model = DMLCSR(11, backbone=backbone, width=16, dtype=jnp.bfloat16)
    variables = initial(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    predictions, _ = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]), variables, IMAGE
    )
    assert [(x.shape, x.dtype) for x in predictions] == [((1, 17, 13, n), jnp.float32) for n in (11, 2, 11)]


def test_features_of_the_published_encoder():
    encoder = get_backbone("resnet101", make=LayerFactory())
    features = jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, False)[0], IMAGE)
    assert jax.tree.map(lambda x: x.shape[1:], features, is_leaf=lambda x: hasattr(x, "shape")) == Features(
        (17, 13, 256), ((9, 7, 512), (9, 7, 1024)), (9, 7, 2048)
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": "vgg"}, "backbone is 'vgg'; it can be .*resnet18"),
        ({"width": 1}, "width is 1; it must be at least 2"),
        ({"stem": "depp"}, "stem is 'depp'; it can be deep, plain"),
        ({"norm": "layer"}, "norm is 'layer'; it can be abn, batch_norm"),
        ({"num_classes": 1}, "num_classes is 1"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(FieldError, match=message):
        DMLCSR(**{"num_classes": 19} | fields)


def test_fields_that_a_backbone_lacks_are_refused():
    with pytest.raises(FieldError, match="depth is 3; the backbone resnet18 has no depth"):
        get_backbone("resnet18", make=LayerFactory(), depth=3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_preprocessing_is_imagenets(backbone):
    preprocessing = get_preprocessing(backbone)
    assert preprocessing.channel_order == "RGB"
    assert preprocessing.mean == (0.485, 0.456, 0.406) and preprocessing.std == (0.229, 0.224, 0.225)


def filled(shapes):
    """Variables drawn by numpy; compiling the real initializers would take longer than the tests."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key == "kernel":
            return rng.normal(size=leaf.shape).astype(leaf.dtype) / np.sqrt(leaf.size / leaf.shape[-1])
        return rng.uniform(0.5, 1, leaf.shape).astype(leaf.dtype)

    return jax.tree.map_with_path(fill, shapes)


@pytest.fixture(scope="module")
def tiny():
    """A network, images, its variables and what it predicts."""
    model = DMLCSR(5, backbone="tiny", width=8)
    images = np.random.default_rng(1).normal(size=(2, 48, 32, 3)).astype(np.float32)
    variables = filled(jax.eval_shape(model.init, jax.random.key(0), images))
    return model, images, variables, jax.jit(model.apply)(variables, images)


def test_parse_needs_no_edge_heads(tiny):
    model, images, variables, predictions = tiny
    assert "edge_head" in variables["params"]
    without = {kind: {k: v for k, v in tree.items() if k != "edge_head"} for kind, tree in variables.items()}
    parsing = jax.jit(lambda v, x: model.apply(v, x, method="parse"))(without, images)
    np.testing.assert_allclose(parsing, predictions.parsing, rtol=1e-5, atol=1e-6)


def test_parts_can_be_left_out():
    model = DMLCSR(5, backbone="tiny", width=8, edge_heads=False, dual_graph=False)
    variables = initial(model)
    assert "dualgcn" not in variables["params"]["context"]
    assert "edge_head" not in variables["params"]
    predictions = jax.eval_shape(model.apply, variables, IMAGE)
    assert predictions.binary_edge is predictions.category_edge is None


def test_bfloat16_is_near_float32(tiny):
    model, images, variables, predictions = tiny
    actual = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, images)
    for head, logits in actual._asdict().items():
        assert_close(logits, np.asarray(getattr(predictions, head)), 0.1)


def test_remat_changes_nothing():
    with jax.enable_x64(True):
        encoders = [get_backbone("tiny", make=LayerFactory(jnp.float64), width=4, remat=flag) for flag in (False, True)]
        images = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
        variables = filled(jax.eval_shape(lambda x: encoders[0].init(jax.random.key(0), x, False), images))

        def gradients(encoder):
            def loss(params):
                features, _ = encoder.apply({**variables, "params": params}, images, True, mutable=["batch_stats"])
                return jnp.square(features.high).sum()

            return jax.jit(jax.grad(loss))(variables["params"])

        recomputed, kept = gradients(encoders[1]), gradients(encoders[0])
        jax.tree.map(lambda a, b: assert_close(a, b, 1e-9), recomputed, kept)


@pytest.mark.parametrize(("count", "at_once"), [(1, 1), (3, 2), (4, 2), (4, 4)])
def test_images_parsed_in_groups_equal_those_parsed_together(monkeypatch, count, at_once):
    monkeypatch.setattr(parsing, "_PIXELS_AT_ONCE", at_once * 48 * 40)
    with jax.enable_x64(True):
        model = DMLCSR(5, backbone="tiny", width=8, edge_heads=False, dtype=jnp.float64)
        images = jax.random.normal(jax.random.key(0), (count, 48, 40, 3), jnp.float64)
        variables = model.init(jax.random.key(1), images)
        together = model.apply(variables, images, method="parse")
        assert_close(jax.jit(parse, static_argnums=0)(model, variables, images), together, 1e-11)


def test_prepared_variables_change_nothing():
    model = DMLCSR(5, backbone="tiny", width=32, edge_heads=False)
    images = jax.random.normal(jax.random.key(0), (1, 192, 200, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    prepared = prepare_variables(model, variables)
    assert [row.shape for row in prepared["winograd"]["context"]["conva_0"]["kernel"]] == 3 * [(6, 2, 256, 256)]
    plain = jax.jit(parse, static_argnums=0)(model, variables, images)
    assert_close(jax.jit(parse, static_argnums=0)(model, prepared, images), plain, 1e-5)
    half = model.clone(dtype=jnp.bfloat16)
    assert prepare_variables(half, variables) is variables
