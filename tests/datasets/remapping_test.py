"""Converting labels between data sets: sides and lips keep their meaning."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.datasets.remapping import remap_table
from dmlcsr_jax.errors import UserError

CELEBA, LAPA = get_spec("celebamask_hq"), get_spec("lapa")


@pytest.mark.parametrize(
    ("celeba", "lapa"),
    [
        ("l_eye", "right_eye"),  # the subject's left is the right of the image
        ("r_eye", "left_eye"),
        ("l_brow", "right_eyebrow"),
        ("r_brow", "left_eyebrow"),
        ("u_lip", "upper_lip"),
        ("l_lip", "lower_lip"),
        ("mouth", "inner_mouth"),
        ("skin", "skin"),
        ("nose", "nose"),
        ("hair", "hair"),
    ],
)
def test_common_classes_both_ways(celeba, lapa):
    assert remap_table(CELEBA, LAPA)[CELEBA.class_id(celeba)] == LAPA.class_id(lapa)
    assert remap_table(LAPA, CELEBA)[LAPA.class_id(lapa)] == CELEBA.class_id(celeba)


def test_classes_without_counterpart():
    for others in (0, 255):
        table = remap_table(CELEBA, get_spec("helen"), others)
        for name in ("eye_g", "hat", "neck", "cloth", "l_ear", "r_ear", "ear_r", "neck_l"):
            assert table[CELEBA.class_id(name)] == others
        assert table[0] == 0 and table[255] == 255


def test_mirroring_and_remapping_commute():
    labels = np.random.default_rng(0).integers(0, 19, (8, 9)).astype(np.uint8)
    table = remap_table(CELEBA, LAPA)
    mirrored_first = table[CELEBA.flip_table()[labels[:, ::-1]]]
    np.testing.assert_array_equal(mirrored_first, LAPA.flip_table()[table[labels]][:, ::-1])


def test_custom_classes():
    own = FaceSpec("own", ("nothing", "hair", "beard", "l_eye"))
    table = remap_table(own, LAPA)
    assert list(table[:4]) == [0, LAPA.class_id("hair"), 0, LAPA.class_id("right_eye")]
    with pytest.raises(UserError, match="counterpart"):
        remap_table(FaceSpec("dogs", ("background", "snout")), LAPA)
