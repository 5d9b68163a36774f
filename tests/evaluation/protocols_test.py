"""The named protocols: where they compare, and that the mirrored ones do not know left from right."""

import jax
import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.images import encode_image, encode_label
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.evaluation.evaluator import evaluate
from dmlcsr_jax.evaluation.protocols import PROTOCOLS, get_protocol
from dmlcsr_jax.models import DMLCSR, init_variables, parse_labels
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.transforms import fit_image, fit_labels
from dmlcsr_jax.types import Preprocessing

SPEC = get_spec("lapa")
SIZE = (24, 24)


def example(number):
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, SPEC.num_classes, (5, 4), np.uint8)
    labels = np.kron(blocks, np.ones((10 + number, 12), np.uint8))  # taller than wide: there is filling at the sides
    return np.repeat(labels[..., None], 3, axis=-1), labels


class Source:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        image, labels = example(index)
        return {"image": encode_image(image), "label": encode_label(labels), "name": str(index)}


@pytest.mark.parametrize("original_size", [True, False])
def test_compares_at_the_size_it_says(original_size):
    confusion = np.zeros((SPEC.num_classes,) * 2, np.int64)
    for number in range(3):
        image, labels = example(number)
        prediction = fit_image(image, SIZE)[..., 0]  # the network: a pixel's value is its class
        if original_size:
            confusion += confusion_matrix(labels, restore_labels(prediction, *labels.shape[::-1]), SPEC.num_classes)
        else:
            confusion += confusion_matrix(fit_labels(labels, SIZE), prediction, SPEC.num_classes)
    predict = jax.pmap(lambda _, images: images[..., 0], in_axes=(None, 0))
    result = evaluate(predict, {}, Source(), SPEC, size=SIZE, batch_size=2, original_size=original_size)
    assert result == scores(confusion, SPEC)
    whole = sum(example(number)[1].size for number in range(3))
    assert confusion.sum() == whole if original_size else confusion.sum() < 3 * SIZE[0] * SIZE[1]


def test_averaged_predictions_are_the_same_in_the_mirror():
    model = DMLCSR(SPEC.num_classes, "tiny", width=8)
    variables = init_variables(model, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (2, 65, 65, 3), np.uint8)
    table = SPEC.flip_table()

    def parse(images, flip_table=None):
        return np.asarray(parse_labels(model, Preprocessing(), variables, images, flip_table))

    there, back = parse(images, table), parse(images[:, :, ::-1], table)
    assert np.mean(there == table[back[:, :, ::-1]]) > 0.995
    assert np.mean(parse(images) == table[parse(images[:, :, ::-1])[:, :, ::-1]]) < 0.9


def test_unknown_protocol_is_answered_with_the_choices():
    with pytest.raises(UserError, match=r"config.evaluation.protocol is 'flip'; it can be original_size, .*_size_flip"):
        get_protocol("flip")
    assert all(get_protocol(name).text for name in PROTOCOLS)
