"""Evaluation protocols: where they compare, and that mirrored ones treat left and right alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.images import encode_image, encode_label
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.evaluation.evaluator import Evaluator, evaluate
from dmlcsr_jax.evaluation.protocols import EvaluationSettings
from dmlcsr_jax.fields import FieldError
from dmlcsr_jax.models import DMLCSR, TestTimeAugmentation, init_variables, parse_logits
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.transforms import fit_image, fit_labels
from dmlcsr_jax.types import Preprocessing

SPEC = get_spec("lapa")
SIZE = (24, 24)


def example(number):
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, SPEC.num_classes, (5, 4), np.uint8)
    labels = np.kron(blocks, np.ones((10 + number, 12), np.uint8))  # taller than wide: there is padding at the sides
    return np.repeat(labels[..., None], 3, axis=-1), labels


class Source:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        image, labels = example(index)
        return {"image": encode_image(image), "label": encode_label(labels), "name": str(index)}


@pytest.mark.parametrize("original_size", [True, False])
def test_predictions_are_compared_at_the_size_of_the_protocol(original_size):
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


def test_weights_are_placed_on_all_devices_once():
    model = DMLCSR(SPEC.num_classes, backbone="tiny", width=8)
    evaluator = Evaluator(
        model=model, preprocessing=Preprocessing(), source=Source(), spec=SPEC, size=SIZE, batch_size=1
    )
    devices = set()

    def predict(variables, images):
        devices.update(len(leaf.sharding.device_set) for leaf in jax.tree.leaves(variables))
        return jax.pmap(lambda image: image[..., 0])(images)

    evaluator.__dict__["_predict"] = predict
    evaluator(init_variables(model, 0))
    assert devices == {jax.local_device_count()}


def test_flip_averaged_predictions_are_the_same_for_the_mirror_image():
    table = SPEC.flip_table()
    images = np.random.default_rng(0).integers(0, 256, (2, 65, 65, 3), np.uint8)
    with jax.enable_x64(True):
        model = DMLCSR(SPEC.num_classes, "tiny", width=8, dtype=jnp.float64)
        variables = init_variables(model, seed=0)

        @functools.partial(jax.jit, static_argnums=1)
        def parse(images, flip):
            options = {
                "preprocessing": Preprocessing(),
                "augmentation": TestTimeAugmentation(flip),
                "flip_table": table,
            }
            return parse_logits(model, variables, images, **options)

        def difference(flip):
            mirrored = parse(images[:, :, ::-1], flip)[:, :, ::-1][..., table[: SPEC.num_classes]]
            return np.abs(parse(images, flip) - mirrored).max() / np.abs(mirrored).max()

        assert difference(flip=True) < 1e-12
        assert difference(flip=False) > 1e-2


def test_an_unknown_protocol_is_refused():
    with pytest.raises(FieldError, match=r"protocol is 'flip'; it can be original_size, .*_size_flip"):
        EvaluationSettings(protocol="flip")


def test_the_evaluator_flips_if_the_protocol_or_the_user_asks_for_it():
    options = {"model": None, "preprocessing": Preprocessing(), "source": Source(), "spec": SPEC, "size": SIZE}
    mirrored = TestTimeAugmentation(flip=True)
    by_protocol = Evaluator(**options, batch_size=2, protocol="network_size_flip")
    by_user = Evaluator(**options, batch_size=2, protocol="network_size", augmentation=mirrored)
    neither = Evaluator(**options, batch_size=2)
    assert [e.views.flip for e in (by_protocol, by_user, neither)] == [True, True, False]
    assert str(by_protocol) == "at the network's size, averaged with the mirror image"
    assert str(by_user) == "at the network's size, averaged over: mirrored"
    assert str(neither) == "at each label's own size"
