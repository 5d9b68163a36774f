"""The code of docs/extending.md runs as it is printed."""

import dataclasses
import importlib.util
import pathlib
import re
import sys
import types

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DATASETS, DatasetSettings
from dmlcsr_jax.losses import LossWeights, multi_task_loss, objective, terms
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.models.backbones import BACKBONES
from dmlcsr_jax.types import Predictions

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "extending.md"


def code_of(section):
    """The code blocks below a heading."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def import_code(name, code, folder, monkeypatch):
    """The code as a module of this name."""
    path = folder / f"{name.rpartition('.')[2]}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def entry(line, module):
    """The key and the value of a line of a table."""
    return next(iter(eval(f"{{{line}}}", vars(module)).items()))


def test_a_backbone(tmp_path, monkeypatch):
    code, line = code_of("Add a backbone")
    module = import_code("dmlcsr_jax.models.backbones.plain", code, tmp_path, monkeypatch)
    monkeypatch.setitem(BACKBONES, *entry(line, module))
    model = create_model(5, backbone="plain", width=8)
    variables = init_variables(model, seed=0)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 33, 41, 3)), jnp.float32)
    predictions = jax.eval_shape(model.apply, variables, images)
    assert [logits.shape for logits in predictions] == [(2, 9, 11, 5), (2, 9, 11, 2), (2, 9, 11, 5)]

    def loss(params):
        predictions, _ = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        return multi_task_loss(predictions, jnp.ones((2, 33, 41), jnp.uint8))[0]

    gradients = jax.jit(jax.grad(loss))(variables["params"])["encoder"]
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_a_backbone_is_exported(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from dmlcsr_jax.checkpoints import CheckpointMetadata
    from dmlcsr_jax.inference.export import export_network
    from dmlcsr_jax.types import Preprocessing
    from tests.inference.random_variables import random_variables

    code, line = code_of("Add a backbone")
    module = import_code("dmlcsr_jax.models.backbones.plain", code, tmp_path, monkeypatch)
    monkeypatch.setitem(BACKBONES, *entry(line, module))
    fields = {"backbone": "plain", "width": 8}
    metadata = CheckpointMetadata(datasets.get_spec("lapa"), fields, (33, 41), Preprocessing())
    variables = random_variables(create_model(11, **fields))
    ((_, parity),) = export_network(variables, metadata, ["onnx"]).values()
    assert parity.holds


def test_a_loss_term():
    code, line = code_of("Add a loss term")
    extended = types.ModuleType("terms")
    vars(extended).update(vars(terms))
    exec(code, vars(extended))
    scope = {**vars(objective), "terms": extended}
    exec(f"@dataclasses.dataclass(frozen=True, kw_only=True)\nclass Extended(LossWeights):\n{line}", scope)

    labels = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 8, 8)), jnp.uint8)
    right = 50.0 * jax.nn.one_hot(labels, 3)
    wrong = jnp.roll(right, 1, axis=-1)
    weights = scope["Extended"](**{name: 0.0 for name in dataclasses.asdict(LossWeights())}, dice=2.0)
    loss = jax.jit(lambda logits: multi_task_loss(Predictions(logits, None, None), labels, weights=weights))
    for logits, expected in ((right, 0.0), (wrong, 1.0)):
        total, values = loss(logits)
        assert float(values["dice"]) == pytest.approx(expected, abs=0.03)
        assert float(total) == pytest.approx(2 * float(values["dice"]))


def test_a_data_set(tmp_path, monkeypatch):
    code, line = code_of("Add a data set")
    module = import_code("dmlcsr_jax.datasets.numpy_faces", code, tmp_path, monkeypatch)
    name, target = entry(line, module)
    monkeypatch.setitem(DATASETS, name, target)
    for split, count in (("train", 3), ("val", 1)):
        (tmp_path / "raw" / split).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(tmp_path / "raw" / split / f"{number}.jpg"), np.full((8, 6, 3), 80, np.uint8))
            np.save(tmp_path / "raw" / split / f"{number}.npy", np.full((8, 6), number))
    settings = DatasetSettings(name, path=str(tmp_path / "raw"), data_dir=str(tmp_path / "prepared"))
    dataset = datasets.prepare(settings)
    assert dataset.splits == {"train": 3, "val": 1} and dataset.spec is datasets.get_spec(name)
    _, image, labels = datasets.prepared.decode_example(dataset.source("train")[2])
    assert image.shape == (8, 6, 3) and (labels == 2).all()
