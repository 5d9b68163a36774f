"""The pmapped training step is the published one, on any number of devices."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.devices import AXIS, local_rows, replicate, shard
from dmlcsr_jax.evaluation.steps import make_predict_step
from dmlcsr_jax.losses import LossWeights, Softening
from dmlcsr_jax.models import DMLCSR, init_variables, parse_logits
from dmlcsr_jax.models.pretrained import from_torch, to_torch
from dmlcsr_jax.training.optimizer import OptimizerSettings, make_optimizer
from dmlcsr_jax.training.state import create_state
from dmlcsr_jax.training.steps import make_train_step
from dmlcsr_jax.types import Batch, Preprocessing
from tests.golden.parameters import state_dict
from tests.same_labels import assert_same_labels

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NORMALIZED = Preprocessing("RGB", (0.0,) * 3, (1 / 255,) * 3)  # the golden images are normalized already
RATE, MOMENTUM, DECAY = 1e-3, 0.9, 5e-4


def sgd():
    return make_optimizer(OptimizerSettings(momentum=MOMENTUM, weight_decay=DECAY), lambda step: RATE)


def fresh(variables, devices):
    return replicate(create_state(jax.tree.map(jnp.array, variables), sgd()), devices)


def golden_batch(images, labels):
    images = np.moveaxis(images.astype(np.float64), 1, -1)
    return shard(Batch(images, labels, np.ones(len(labels), bool)), 1)


@pytest.fixture(scope="module")
def published():
    """The float64 step of the published network, compiled once: (state -> fresh state, step)."""
    with jax.enable_x64(True):
        arrays = state_dict(json.loads((GOLDEN / "state_dict_shapes_11.json").read_text()))
        variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), from_torch(arrays))
        model = DMLCSR(11, dtype=jnp.float64, axis_name=AXIS)
        step = make_train_step(model, sgd(), weights=LossWeights(), preprocessing=NORMALIZED, devices=jax.devices()[:1])
        yield variables, step


@pytest.mark.slow
def test_gradients_equal_golden(published):
    variables, step = published
    golden = np.load(GOLDEN / "gradients_11.npz")
    with jax.enable_x64(True):
        state, terms = step(fresh(variables, jax.devices()[:1]), golden_batch(golden["image"], golden["labels"]))
        assert float(terms["total"]) == pytest.approx(float(golden["loss"]), rel=1e-9)
        # The momentum buffer starts at 0: after one step it is gradient + decay * parameter.
        buffer = next(leaf.trace for leaf in jax.tree.leaves(state.opt_state, is_leaf=has_trace) if has_trace(leaf))
        gradients = jax.tree.map(lambda b, p: np.asarray(b) - DECAY * np.asarray(p), buffer, variables["params"])
    gradients = to_torch({"params": gradients})
    norms = dict(zip(golden["norm_names"].tolist(), golden["norms"].tolist(), strict=True))
    assert set(norms) == set(gradients)
    for name, norm in norms.items():
        if norm > 1e-6:
            assert np.linalg.norm(gradients[name]) == pytest.approx(norm, rel=1e-6), name
    full = [name for name in golden.files if name.startswith("grad:")]
    assert len(full) == 9
    for name in full:
        difference = np.abs(gradients[name.removeprefix("grad:")] - golden[name]).max()
        assert difference <= 1e-6 * np.abs(golden[name]).max(), name


def has_trace(leaf):
    return hasattr(leaf, "trace") and not isinstance(leaf, jax.Array)


@pytest.mark.slow
def test_four_steps_follow_golden(published):
    """To 1e-7; after four steps rounding decides.

    Training on two images of 97² is chaotic: two algebraically equal batch norms, which differ by 4e-13 in the second
    loss, differ by 5e-10, 1e-8, 1e-5 and 6e-3 in the next four. The bounds follow that.
    """
    variables, step = published
    golden = np.load(GOLDEN / "trajectory_11.npz")
    assert (golden["learning_rate"], golden["momentum"], golden["weight_decay"]) == (RATE, MOMENTUM, DECAY)
    with jax.enable_x64(True):
        state = fresh(variables, jax.devices()[:1])
        bounds = (1e-12, 1e-10, 1e-8, 1e-7)
        steps = zip(golden["images"], golden["labels"], golden["losses"], bounds, strict=False)
        for images, labels, loss, bound in steps:
            state, terms = step(state, golden_batch(images, labels))
            assert float(terms["total"]) == pytest.approx(float(loss), rel=bound)


def test_two_devices_take_the_step_of_one():
    """In float64 and everything that is synchronized: all terms but Lovász, which ranks each device's own pixels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 33, 41, 3)).astype(np.uint8)
    labels = rng.integers(0, 5, (2, 33, 41)).astype(np.uint8)
    labels[0, :20] = 255  # the devices count different numbers of pixels
    batch = Batch(images, labels, np.ones(2, bool))
    with jax.enable_x64(True):
        model = DMLCSR(5, backbone="tiny", width=8, dtype=jnp.float64, axis_name=AXIS)
        variables = init_variables(model, seed=0)
        results = []
        for count in (1, 2):
            devices = jax.devices()[:count]
            step = make_train_step(
                model, sgd(), weights=LossWeights(lovasz=0.0), preprocessing=Preprocessing(), devices=devices
            )
            state, terms = step(fresh(variables, devices), shard(batch, count))
            results.append((jax.device_get(state), {k: float(v) for k, v in terms.items() if k != "lovasz"}))
    (one, one_terms), (two, two_terms) = results
    assert two_terms == pytest.approx(one_terms, rel=1e-9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), one, two)
    assert int(one.step) == 1


@pytest.mark.parametrize("softening", [None, Softening(soften="heads,attention,hard", confidence=0.2)])
def test_parts_take_the_step_of_the_whole_batch(softening):
    """In float64, without Lovász, and with images so that all parts have the same statistics.

    Each of the two devices sees one image in both parts. The labels differ, and so do the numbers of pixels that the
    terms divide by.
    """
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 256, (2, 33, 41, 3)), 2, axis=0).astype(np.uint8)
    labels = np.kron(rng.integers(0, 5, (4, 11, 14)), np.ones((3, 3), int))[:, :, :41].astype(np.uint8)
    labels[0, :20], labels[1] = 255, 3
    batch = Batch(images, labels, np.ones(4, bool))
    options = {
        "weights": LossWeights(lovasz=0.0),
        "preprocessing": Preprocessing(),
        "class_weights": np.linspace(0.5, 2, 5),
        "softening": softening or Softening(),
    }
    with jax.enable_x64(True):
        model = DMLCSR(5, backbone="tiny", width=8, dual_graph=False, dtype=jnp.float64, axis_name=AXIS)
        results = []
        for count, parts in ((1, 1), (2, 2)):
            devices = jax.devices()[:count]
            step = make_train_step(model, sgd(), accumulate_steps=parts, devices=devices, **options)
            state = fresh(init_variables(model, seed=0), devices)
            if softening:
                state = replicate(state.replace(teacher=init_variables(model, seed=1), cycle=jnp.asarray(1)), devices)
            state, terms = step(state, shard(batch, count))
            results.append((jax.device_get(state), {k: float(v) for k, v in terms.items() if k != "lovasz"}))
    (whole, whole_terms), (parted, parted_terms) = results
    assert parted_terms == pytest.approx(whole_terms, rel=1e-9)
    trees = zip(*((state.params, state.opt_state) for state in (whole, parted)), strict=True)
    for one, other in trees:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), one, other)
    means = (state.batch_stats["encoder"]["bn1"]["mean"] for state in (whole, parted))
    np.testing.assert_allclose(*(mean / share for mean, share in zip(means, (1 - 0.9, 1 - 0.9**2), strict=True)))


def test_predictions_come_back_in_order():
    model = DMLCSR(3, backbone="tiny", width=8)
    variables = init_variables(model, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (8, 24, 32, 3)).astype(np.uint8)
    labels = local_rows(make_predict_step(model, preprocessing=Preprocessing())(variables, shard(images)))
    assert labels.shape == (8, 24, 32) and labels.dtype == np.uint8
    logits = [parse_logits(model, variables, image[None], preprocessing=Preprocessing())[0] for image in images]
    assert_same_labels(labels, np.stack(logits))
