"""Pictures in, parts out: sizes, order, and the input convention of the checkpoint."""

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.pipeline.geometry import affine_matrix, restore_labels, whole_picture
from dmlcsr_jax.pipeline.resize import resize_bilinear
from dmlcsr_jax.training.checkpoints import Card
from dmlcsr_jax.training.state import create_model, init_variables
from dmlcsr_jax.types import InputConvention

CONFIG = default.get_config("debug")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def variables():
    return init_variables(create_model(19, CONFIG.model), seed=0)


@pytest.fixture(scope="module")
def parser(variables):
    card = Card(get_spec("celebamask_hq"), CONFIG.model.to_dict(), (48, 48), InputConvention("BGR"))
    variables = {"params": dict(variables["params"]), "batch_stats": dict(variables["batch_stats"])}
    for kind in variables.values():
        kind.pop("edge_head")  # parsing needs none of it
    return FaceParser(variables, card, batch_size=2)


def picture(height, width):
    coarse = RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_labels_are_those_of_the_published_pipeline(parser, variables, tmp_path):
    """Read BGR, warp, /255, mean and deviation in that order, logits up, argmax, inverse warp."""
    path = str(tmp_path / "face.png")
    cv2.imwrite(path, picture(90, 60))
    (face,) = parser(path)

    image = cv2.imread(path)
    height, width = image.shape[:2]
    center, scale = whole_picture(width, height, (48, 48))
    matrix = affine_matrix(center, scale, 0, (48, 48))
    warped = cv2.warpAffine(image, matrix, (48, 48), flags=cv2.INTER_LINEAR)
    values = (warped.astype(np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    model = create_model(19, ConfigDict(CONFIG.model.to_dict()))
    logits = jax.jit(model.apply)(variables, values[None].astype(np.float32)).parsing
    expected = np.argmax(resize_bilinear(logits, (48, 48))[0], -1).astype(np.uint8)
    expected = restore_labels(expected, width, height)
    assert len(np.unique(expected)) > 3
    assert (face.labels == expected).mean() > 0.999


def test_sizes_order_and_masks(parser):
    pictures = [picture(40, 90), picture(100, 30), picture(64, 64)]
    faces = parser(pictures)
    for image, face in zip(pictures, faces, strict=True):
        assert face.labels.shape == image.shape[:2] and face.labels.dtype == np.uint8
        assert face.overlay().shape == image.shape and face.overlay().dtype == np.uint8
        np.testing.assert_array_equal(face.image, image)
        (alone,) = parser(image)
        np.testing.assert_array_equal(alone.labels, face.labels)
        total = sum(face.mask(name).sum() for name in face.names)
        assert total == face.labels.size
        np.testing.assert_array_equal(face.mask("l_eye", "r_eye"), face.mask("l_eye") | face.mask("r_eye"))
    with pytest.raises(ValueError, match="hair"):
        faces[0].mask("moustache")
    assert [face.labels.shape for face in parser(np.stack([pictures[2]] * 3))] == [(64, 64)] * 3
    assert parser([]) == []


def test_bad_pictures_are_named(parser, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    for bad, words in (
        (tmp_path / "text.jpg", "text.jpg"),
        (tmp_path / "gone.jpg", "gone.jpg"),
        (np.zeros((4, 4), np.uint8), "RGB"),
        (np.zeros((4, 4, 3)), "uint8"),
    ):
        with pytest.raises(UserError, match=words):
            parser([bad])
