"""How the teacher softens the labels, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.losses import LossWeights, Softening, lovasz_softmax, multi_task_loss
from dmlcsr_jax.losses.softening import confident_labels, soft_target
from dmlcsr_jax.pipeline.edges import edge_labels
from dmlcsr_jax.types import Predictions

CLASSES = 5


def share_of_label(target, *, cycle, margin, classes=19):
    """The target's probability of the label 0 if the teacher prefers class 1 by `margin` and knows no other."""
    logits = np.zeros((1, 1, 1, classes), np.float32)
    logits[..., 1] = margin
    return float(jnp.exp(soft_target(logits, np.zeros((1, 1, 1), np.uint8), cycle, target))[0, 0, 0, 0])


def test_the_default_is_the_published_target():
    assert Softening() == Softening(target="logits", soften="heads", confidence=0.8)


def test_a_label_keeps_its_share_of_the_probabilities_but_not_of_the_logits():
    uncertain = 17 + np.exp(8.0)  # of the teacher's softmax
    assert share_of_label("probabilities", cycle=1, margin=8) == pytest.approx(0.5 + 0.5 / (1 + uncertain), rel=1e-5)
    assert share_of_label("probabilities", cycle=3, margin=8) == pytest.approx(0.25 + 0.75 / (1 + uncertain), rel=1e-5)
    assert share_of_label("logits", cycle=1, margin=8) == pytest.approx(
        np.exp(0.5) / (np.exp(0.5) + 17 + np.exp(4)), rel=1e-5
    )
    assert share_of_label("probabilities", cycle=0, margin=8) == pytest.approx(1, rel=1e-5)
    assert share_of_label("logits", cycle=0, margin=8) == pytest.approx(np.e / (np.e + 18), rel=1e-5)


@pytest.mark.parametrize("target", ["logits", "probabilities"])
def test_a_target_is_a_distribution(target):
    logits = np.random.default_rng(0).normal(scale=30, size=(2, 6, 7, CLASSES)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, CLASSES, (2, 6, 7)).astype(np.uint8)
    found = soft_target(logits, labels, 2, target)
    np.testing.assert_allclose(jnp.exp(found).sum(-1), 1, rtol=1e-5)


def test_a_confident_teacher_replaces_labels():
    probabilities = np.full((1, 1, 4, 3), 0.05)
    probabilities[0, 0, :, 1] = (0.9, 0.7, 0.9, 0.9)
    probabilities[0, 0, :, 2] = 1 - probabilities[0, 0, :, :2].sum(-1)
    labels = np.array([[[0, 0, 255, 1]]], np.uint8)
    teacher = np.log(probabilities).astype(np.float32)
    found = confident_labels(labels, soft_target(teacher, labels, 3, "probabilities"), teacher, confidence=0.8)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[[1, 0, 255, 1]]])


def test_a_label_with_half_of_the_target_stays():
    """Even if the teacher's probability rounds to one, so that both have exactly half."""
    teacher = np.zeros((1, 2, 19, 3), np.float32)
    teacher[..., 1] = np.arange(2, 40, 2)  # logits of a teacher that is ever surer
    labels = np.array([[[0] * 19, [2] * 19]], np.uint8)
    found = confident_labels(labels, soft_target(teacher, labels, 1, "probabilities"), teacher, confidence=0.5)
    np.testing.assert_array_equal(found, labels)
    third = confident_labels(labels, soft_target(teacher, labels, 2, "probabilities"), teacher, confidence=0.5)
    np.testing.assert_array_equal(third, np.ones_like(labels))


@pytest.fixture(scope="module")
def example():
    """Logits at the size of the labels, so that nothing is resized; the teacher is sure of some pixels."""
    rng = np.random.default_rng(0)
    shapes = ((2, 16, 16, CLASSES), (2, 16, 16, 2), (2, 16, 16, CLASSES))
    student = Predictions(*(rng.normal(size=shape) for shape in shapes))
    teacher = Predictions(*(rng.normal(scale=4, size=shape) for shape in shapes))
    labels = np.kron(rng.integers(0, CLASSES, (2, 4, 4)), np.ones((4, 4), int)).astype(np.uint8)
    labels[0, :3] = 255
    return student, teacher, labels


def losses(example, cycle=3, **softening):
    student, teacher, labels = example
    with jax.enable_x64(True):
        options = {"teacher": teacher, "cycle": cycle, "softening": Softening(**softening)}
        return jax.device_get(jax.jit(lambda: multi_task_loss(student, labels, **options))())


def test_the_attention_terms_follow_the_target(example):
    student, teacher, labels = example
    total, values = losses(example, target="probabilities", soften="heads,attention")
    _, hard = losses(example, target="probabilities")
    one_hot = (labels[..., None] == np.arange(CLASSES)) * (labels < CLASSES)[..., None]
    mixed = 0.75 * np.exp(np.asarray(jax.nn.log_softmax(teacher.parsing))) + 0.25 * one_hot
    pixels = -np.sum(mixed * np.asarray(jax.nn.log_softmax(student.parsing)), -1) * (labels < CLASSES)
    edges = np.asarray(edge_labels(labels)[0]) > 0
    expected = np.mean((pixels * edges).sum((1, 2)) / edges.sum((1, 2)))
    np.testing.assert_allclose(values["binary_edge_attention"], expected, rtol=1e-5)
    changed = {name for name in values if not np.isclose(values[name], hard[name], rtol=1e-9)}
    assert changed == {"binary_edge_attention", "category_edge_attention"}
    counted = set(values) - {"cross_entropy", "binary_edge", "category_edge"}
    np.testing.assert_allclose(total, sum(getattr(LossWeights(), name) * values[name] for name in counted), rtol=1e-6)


def test_hard_terms_learn_from_the_confident_labels(example):
    student, teacher, labels = example
    _, values = losses(example, target="probabilities", soften="heads,hard")
    _, given = losses(example, target="probabilities")
    with jax.enable_x64(True):
        target = soft_target(teacher.parsing, labels, 3, "probabilities")
        better = confident_labels(labels, target, teacher.parsing, 0.8)
        assert 0 < np.mean(better != labels) < 1
        student = jax.tree.map(jnp.asarray, student)
        expected = multi_task_loss(student, better)[1]
        np.testing.assert_allclose(values["lovasz"], lovasz_softmax(jax.nn.softmax(student.parsing), better), rtol=1e-9)
    for name in expected:
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-9, err_msg=name)
    # In the target the given label has its share already.
    np.testing.assert_allclose(values["distill_parsing"], given["distill_parsing"], rtol=1e-9)


def test_heads_are_softened_only_if_listed(example):
    student, _, labels = example
    total, values = losses(example, soften="hard", confidence=1.0)  # no teacher is surer than that
    with jax.enable_x64(True):
        expected, terms = multi_task_loss(jax.tree.map(jnp.asarray, student), labels)
    assert set(values) == set(terms)
    np.testing.assert_allclose(total, expected, rtol=1e-9)


@pytest.mark.parametrize("fields", [{"target": "labels"}, {"soften": ""}, {"soften": "head"}, {"confidence": 2.0}])
def test_unknown_fields_are_refused(fields):
    with pytest.raises(FieldError, match=next(iter(fields))):
        Softening(**fields)
