"""Cut-outs: alpha is the probability of the parts, and colors stay."""

import cv2
import numpy as np
import pytest

from configs import default
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.drawing.cutouts import cut_out, encode_cutout, encode_mask
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.types import Preprocessing

SPEC = get_spec("celebamask_hq")
IMAGE = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8), (90, 70))
BOXES = [(10, 10, 40, 50), (45, 20, 80, 60)]


@pytest.fixture(scope="module")
def parser():
    model = Experiment.from_config(default.get_config("debug")).model
    variables = init_variables(create_model(19, **model), seed=0)
    return FaceParser(variables, CheckpointMetadata(SPEC, model, (48, 48), Preprocessing()), batch_size=2)


@pytest.mark.parametrize("boxes", [None, BOXES, BOXES[:1], []])
@pytest.mark.parametrize("names", [("hair", "hat"), ("background", "skin"), SPEC.class_names[1:]])
def test_alpha_is_the_sum_of_probabilities(parser, boxes, names):
    (face,) = parser(IMAGE, boxes=boxes)
    total = face.probabilities[..., [SPEC.class_id(name) for name in names]].sum(-1)
    alpha = face.alpha(*names)
    assert alpha.dtype == np.uint8 and np.abs(alpha - 255 * total).max() <= 0.51
    np.testing.assert_array_equal(face.cutout(*names), np.dstack([IMAGE, alpha]))
    if names == SPEC.class_names[1:]:
        np.testing.assert_array_equal(face.alpha(), alpha)


def test_alpha_of_remapped_parts(parser):
    (face,) = parser(IMAGE, boxes=BOXES)
    lapa = face.remapped("lapa")
    np.testing.assert_array_equal(lapa.alpha("hair"), face.alpha("hair"))
    np.testing.assert_array_equal(lapa.alpha("right_eye", "left_eye"), face.alpha("l_eye", "r_eye"))
    with pytest.raises(ValueError, match="right_eye"):
        lapa.alpha("l_eye")


def test_files_hold_what_they_are_made_of():
    alpha = np.arange(90 * 70).reshape(70, 90).astype(np.uint8)
    read = cv2.imdecode(np.frombuffer(encode_cutout(cut_out(IMAGE, alpha)), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, np.dstack([IMAGE[..., ::-1], alpha]))
    mask = cv2.imdecode(np.frombuffer(encode_mask(alpha > 99), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, np.where(alpha > 99, 255, 0))
