"""The teacher is the mean of its students, with the statistics of its own parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.devices import AXIS, replicate, shard
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.losses.softening import Softening
from dmlcsr_jax.models import DMLCSR, init_variables
from dmlcsr_jax.training.optimizer import OptimizerSettings, make_optimizer
from dmlcsr_jax.training.plan import mention_cycles
from dmlcsr_jax.training.self_regulation import (
    SelfRegulation,
    end_cycle,
    ends_cycle,
    moving_average,
    recompute_batch_stats,
)
from dmlcsr_jax.training.state import create_state
from dmlcsr_jax.training.steps import make_statistics_step, make_train_step
from dmlcsr_jax.types import Batch, Preprocessing


def regulation(**fields):
    return SelfRegulation(**{"epochs_before_cycles": 3, "cycle_epochs": 2} | fields)


def test_cycles_end_where_they_should():
    ends = [step for step in range(101) if ends_cycle(step, regulation(), epoch_steps=10)]
    assert ends == [30, 50, 70, 90]
    assert [step for step in range(60) if ends_cycle(step, regulation(epochs_before_cycles=0), 10)] == [20, 40]
    for fields in ({"enabled": False}, {"self_ensemble": False, "distillation": False}):
        assert not any(ends_cycle(step, regulation(**fields), 10) for step in range(1, 101))


def test_the_published_recipe_has_six_members_and_fifty_softened_epochs():
    members = {0: 0}  # epochs done -> networks in the teacher
    for epoch in range(1, 201):
        members[epoch] = members[epoch - 1] + ends_cycle(epoch * 7, SelfRegulation(), epoch_steps=7)
    assert members[200] == 6
    shares = [1 / (members[done] + 1) for done in range(200) if members[done]]  # of the label in each softened epoch
    assert len(shares) == 50
    assert shares[:11] == [1 / 2] * 10 + [1 / 3] and shares[-1] == 1 / 6


@pytest.mark.parametrize(
    ("stage_one", "epochs", "mentioned"), [(3, 3, True), (3, 4, False), (0, 2, True), (0, 3, False)]
)
def test_a_run_that_ends_before_its_first_cycle_says_so(stage_one, epochs, mentioned, capsys):
    mention_cycles(regulation(epochs_before_cycles=stage_one), epochs)
    text = f"no self-regulation: it would start after epoch {stage_one or 2}, and training ends with epoch {epochs}"
    assert (text in " ".join(capsys.readouterr().out.split())) == mentioned


def test_the_teacher_of_three_cycles_is_the_mean_of_three_students():
    rng = np.random.default_rng(0)
    students = [{"a": rng.standard_normal((3, 4), np.float32), "b": rng.standard_normal(5, np.float32)} for _ in "012"]
    teacher = students[0]
    for cycle, student in enumerate(students[1:], start=1):
        teacher = moving_average(teacher, student, jnp.asarray(cycle))
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0, dtype=np.float64), *students)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-7, atol=3e-7), teacher, mean)


@pytest.fixture(scope="module")
def network():
    model = DMLCSR(5, backbone="tiny", width=8, axis_name=AXIS)
    variables = init_variables(model, seed=0)
    moved = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), variables["params"])
    return model, variables | {"params": moved}


def state_of(variables):
    return create_state(jax.tree.map(jnp.copy, variables), sgd())


def sgd():
    return make_optimizer(OptimizerSettings(weight_decay=0.0), lambda step: 0.01)


def test_the_student_joins_the_teacher(network):
    _, variables = network
    zero = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
    state = state_of(variables)
    first = end_cycle(state, lambda params, batch_stats: zero)
    assert int(first.cycle) == 1
    jax.tree.map(np.testing.assert_array_equal, first.teacher, {"params": state.params, "batch_stats": zero})
    moved = first.replace(params=jax.tree.map(lambda x: x + 1, first.params))
    second = end_cycle(moved, lambda params, batch_stats: zero)
    jax.tree.map(
        lambda new, old: np.testing.assert_allclose(new, old + 0.5, atol=1e-6), second.teacher["params"], state.params
    )
    restarted = end_cycle(moved, lambda params, batch_stats: zero, restart=True)
    jax.tree.map(np.testing.assert_array_equal, restarted.variables, second.teacher)
    jax.tree.map(np.testing.assert_array_equal, restarted.opt_state, moved.opt_state)
    alone = end_cycle(moved, lambda params, batch_stats: zero, self_ensemble=False)
    jax.tree.map(np.testing.assert_array_equal, alone.teacher["params"], moved.params)


def examples(count):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, 24, 32, 3)).astype(np.uint8)


def padded_batches(images, size):
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.zeros((size, *images.shape[1:]), np.uint8)
        filled[: len(part)] = part
        yield Batch(filled, np.zeros(filled.shape[:3], np.uint8), np.arange(size) < len(part))


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_statistics_are_the_sample_weighted_mean_of_the_batches(network, devices):
    """With a last batch of 3 in 8; expected values by hand, from training passes over the batches without padding."""
    model, variables = network
    images, batch_size = examples(19), 8
    with jax.enable_x64(True):
        model, variables = model.clone(dtype=jnp.float64), jax.tree.map(lambda x: jnp.asarray(x, float), variables)
        check_statistics(model, variables, images, batch_size, devices)


def check_statistics(model, variables, images, batch_size, devices):
    alone = model.clone(axis_name=None)

    @jax.jit
    def own_statistics(images):
        normalized = (images / 255.0 - jnp.array(Preprocessing().mean)) / jnp.array(Preprocessing().std)
        reset = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        given = {"params": variables["params"], "batch_stats": reset}
        return alone.apply(given, normalized, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    expected = jax.tree.map(lambda x: np.zeros(x.shape), variables["batch_stats"])
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        own = own_statistics(part.astype(np.float64))  # 0.9 * 0 + 0.1 * the batch's own
        weight = len(part) / len(images) / 0.1
        expected = jax.tree.map(lambda e, o, w=weight: e + w * np.asarray(o), expected, own)

    chosen = jax.devices()[:devices]
    step = make_statistics_step(model, preprocessing=Preprocessing(), devices=chosen)
    average, seen = replicate((variables["batch_stats"], jnp.zeros((), float)), chosen)
    for batch in padded_batches(images, batch_size):
        average, seen = step({"params": variables["params"]}, average, seen, shard(batch, devices))
    assert float(seen) == 19
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-12 * scale), average, expected)


def test_recomputed_statistics_forget_the_old_ones(network):
    model, variables = network
    step = make_statistics_step(model, preprocessing=Preprocessing())
    given, stats = replicate(({"params": variables["params"]}, variables["batch_stats"]))
    found = recompute_batch_stats(step, given, stats, padded_batches(examples(12), 8))
    again = recompute_batch_stats(step, given, jax.tree.map(lambda x: x + 7, stats), padded_batches(examples(12), 8))
    jax.tree.map(np.testing.assert_array_equal, found, again)  # nothing of the old statistics is left


def test_the_teacher_softens_labels_and_is_not_changed(network):
    model, variables = network
    batch = next(padded_batches(examples(4), 4))
    batch = shard(batch._replace(labels=np.random.default_rng(2).integers(0, 5, batch.labels.shape).astype(np.uint8)))
    options = {"weights": LossWeights(), "preprocessing": Preprocessing()}
    train_step = make_train_step(model, sgd(), **options)
    silent_step = make_train_step(model, sgd(), **options, distillation=False)

    def fresh():
        teacher = jax.tree.map(lambda x: 1.1 * x, variables)
        return replicate(state_of(variables).replace(teacher=teacher, cycle=jnp.asarray(1)))

    attention_step = make_train_step(model, sgd(), **options, softening=Softening(soften="heads,attention"))
    taught, terms = train_step(fresh(), batch)
    softened = attention_step(fresh(), batch)[1]
    changed = {name for name in terms if float(terms[name]) != pytest.approx(float(softened[name]), rel=1e-5)}
    assert changed == {"binary_edge_attention", "category_edge_attention", "total"}
    assert {"distill_parsing", "distill_binary_edge", "distill_category_edge"} <= set(terms)
    jax.tree.map(np.testing.assert_array_equal, taught.teacher, fresh().teacher)
    untaught, silent_terms = silent_step(fresh(), batch)
    assert "distill_parsing" not in silent_terms
    assert float(terms["cross_entropy"]) == pytest.approx(float(silent_terms["cross_entropy"]), rel=1e-5)
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), taught.params, untaught.params)
    assert max(jax.tree.leaves(differences)) > 1e-5
