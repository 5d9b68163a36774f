"""The classes of the known data sets."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.spec import FaceSpec, default_palette
from dmlcsr_jax.errors import UserError

KNOWN = ("celebamask_hq", "lapa", "helen", "synthetic")


@pytest.mark.parametrize(("name", "classes"), list(zip(KNOWN, (19, 11, 11, 19), strict=True)))
def test_known_specs(name, classes):
    spec = get_spec(name)
    assert spec.name == name
    assert spec.num_classes == classes == len(set(spec.class_names)) == len(spec.palette)
    assert spec.class_names[0] == "background"
    assert len(set(spec.palette)) == classes


def test_synthetic_faces_have_the_classes_of_celebamask():
    assert get_spec("synthetic").class_names == get_spec("celebamask_hq").class_names


def test_unknown_name_is_answered_with_the_choices():
    with pytest.raises(UserError, match=r"no data set 'lappa'.*celebamask_hq, lapa, helen, synthetic"):
        get_spec("lappa")


@pytest.mark.parametrize("name", KNOWN)
def test_flipping_twice_changes_nothing(name):
    spec = get_spec(name)
    table = spec.flip_table()
    np.testing.assert_array_equal(table[table], np.arange(256))
    assert table[255] == 255
    moved = {spec.class_names[i] for i in range(spec.num_classes) if table[i] != i}
    assert moved == {name for pair in spec.flip_pairs for name in pair}
    assert moved


@pytest.mark.parametrize("name", ["lapa", "helen"])
def test_score_groups_name_classes_or_groups(name):
    spec = get_spec(name)
    assert set(spec.score_groups) == {"eyes", "brows", "mouth", "overall"}
    for members in spec.score_groups.values():
        assert set(members) <= set(spec.class_names) | set(spec.score_groups)


def test_class_numbers_by_name():
    spec = FaceSpec(name="two", class_names=("background", "face"))
    assert spec.class_id("face") == 1
    with pytest.raises(ValueError, match="no class 'nose' in two; it has background, face"):
        spec.class_id("nose")


def test_palette_goes_on_for_many_classes():
    palette = default_palette(60)
    assert len(palette) == 60
    assert palette[0] == (0, 0, 0)
    assert all(0 <= channel <= 255 for color in palette for channel in color)
