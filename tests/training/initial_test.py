"""Initial weights: which layers are transferred, and which start fresh."""

import jax
import numpy as np
import pytest

from dmlcsr_jax.checkpoints import CheckpointMetadata, save_variables
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.models.pretrained import to_torch
from dmlcsr_jax.models.weight_files import write_state_dict
from dmlcsr_jax.training.initial import InitialWeights, initial_variables
from dmlcsr_jax.types import Preprocessing


def tiny(num_classes=19, **fields):
    return create_model(num_classes, backbone="tiny", **{"width": 8} | fields)


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A 19-class network's checkpoint without edge heads: (workdir, its variables)."""
    workdir = tmp_path_factory.mktemp("run")
    variables = init_variables(tiny(edge_heads=False), seed=1)
    fields = {"backbone": "tiny", "width": 8, "edge_heads": False}
    metadata = CheckpointMetadata(get_spec("synthetic"), fields, (64, 64), Preprocessing())
    save_variables(workdir / "checkpoints", variables, metadata)
    return workdir, variables


def test_layers_of_other_classes_start_fresh_and_are_named(checkpoint, capsys):
    workdir, given = checkpoint
    started = leaves(initial_variables(tiny(11), InitialWeights(init_from=str(workdir)), get_spec("lapa").class_names))
    said = " ".join(capsys.readouterr().out.split())
    said = said.partition("fresh: ")[2]
    assert "parsing_head/conv4" in said and "edge_head/conv5" in said and "parsing_head/conv3" not in said
    for name, value in leaves(given).items():
        if "conv4" not in name or "encoder" in name:
            np.testing.assert_array_equal(started[name], value)
    assert started["['params']['parsing_head']['conv4']['kernel']"].shape[-1] == 11


@pytest.mark.parametrize("reordered", [False, True])
def test_output_layers_of_classes_in_another_order_start_fresh(checkpoint, reordered):
    workdir, given = checkpoint
    names = get_spec("synthetic").class_names
    initial = InitialWeights(init_from=str(workdir))
    found = leaves(initial_variables(tiny(), initial, names[::-1] if reordered else names))
    name = "['params']['parsing_head']['conv4']['kernel']"
    assert np.array_equal(found[name], leaves(given)[name]) != reordered


def test_terms_are_inherited(checkpoint, tmp_path):
    first = InitialWeights(init_from=str(checkpoint[0]), pretrained_backbone="/home/somebody/lite0.pth").terms()
    assert ["lite0.pth" in first[0] and "ImageNet" in first[0], "drawn by code" in first[1]] == [True, True]
    assert len(first) == 2 and "somebody" not in "".join(first)
    metadata = CheckpointMetadata(get_spec("lapa"), {}, (64, 64), Preprocessing(), first)
    save_variables(tmp_path / "second" / "checkpoints", checkpoint[1], metadata)
    second = InitialWeights(init_from=str(tmp_path / "second")).terms()
    assert "LaPa" in second[0] and second[1:] == first
    assert InitialWeights(init_from="/nowhere").terms() == (
        "Training started from the weights nowhere. Terms: unknown",
    )
    assert InitialWeights().terms() == ()


def test_another_network_is_refused(checkpoint):
    with pytest.raises(UserError, match=r"same config\.model"):
        initial_variables(
            tiny(width=16), InitialWeights(init_from=str(checkpoint[0])), get_spec("synthetic").class_names
        )


def test_backbone_weights_enter_the_encoder_alone(tmp_path):
    model = tiny(stem="plain", norm="batch_norm")
    donor = init_variables(model, seed=5)
    encoder = {kind: {"encoder": tree["encoder"]} for kind, tree in donor.items()}
    write_state_dict(tmp_path / "imagenet.npz", to_torch(encoder) | {"fc.weight": np.zeros((1000, 64), np.float32)})
    initial = InitialWeights(pretrained_backbone=str(tmp_path / "imagenet.npz"))
    started, fresh = leaves(initial_variables(model, initial, ())), leaves(init_variables(model, seed=0))
    for name, value in leaves(donor).items():
        np.testing.assert_array_equal(started[name], value if "encoder" in name else fresh[name])


def test_same_seed_same_start():
    model = tiny()
    jax.tree.map(np.testing.assert_array_equal, init_variables(model, seed=3), init_variables(model, seed=3))
