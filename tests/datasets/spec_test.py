"""The classes of the known data sets."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.spec import FaceSpec, default_palette
from dmlcsr_jax.errors import UserError

KNOWN = ("synthetic", "celebamask_hq", "lapa", "helen")


@pytest.mark.parametrize(("name", "classes"), list(zip(KNOWN, (19, 19, 11, 11), strict=True)))
def test_known_specs(name, classes):
    spec = get_spec(name)
    assert spec.name == name
    assert spec.num_classes == classes == len(set(spec.class_names)) == len(set(spec.palette))
    assert spec.class_names[0] == "background"


@pytest.mark.parametrize("name", ["lappa", "folder"])
def test_name_without_classes_lists_the_choices(name):
    with pytest.raises(UserError, match=f"no data set '{name}' .* one of synthetic, celebamask_hq, lapa, helen$"):
        get_spec(name)


def test_specs_and_data_sets_need_neither_jax_nor_tfds():
    code = """
        import sys
        from dmlcsr_jax.datasets import celebamask_hq, folder, get_spec, helen, lapa, synthetic
        get_spec("lapa")
        print({"jax", "tensorflow", "tensorflow_datasets"} & set(sys.modules))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"


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


@pytest.mark.parametrize("name", KNOWN)
def test_json_round_trip(name):
    spec = get_spec(name)
    read = FaceSpec(**json.loads(json.dumps(dataclasses.asdict(spec))))
    assert read == spec
    assert isinstance(read.palette[0], tuple) and isinstance(read.flip_pairs[0], tuple)


def test_class_numbers_by_name():
    spec = FaceSpec("two", ("background", "face"))
    assert spec.class_id("face") == 1
    with pytest.raises(ValueError, match="no class 'nose'; choose from background, face"):
        spec.class_id("nose")


def test_palette_for_many_classes():
    palette = default_palette(60)
    assert len(palette) == 60
    assert palette[0] == (0, 0, 0)
    assert all(0 <= channel <= 255 for color in palette for channel in color)
    assert len(set(palette[:39])) == 39  # the first repetition is darker, not equal
