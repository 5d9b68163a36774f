"""The settings of a data set, and the registry that finds its class."""

import importlib
import textwrap

import pytest

from dmlcsr_jax import datasets
from dmlcsr_jax.datasets import DATASETS, DatasetSettings
from dmlcsr_jax.errors import UserError

OWN = '''
import numpy as np

from dmlcsr_jax.datasets.images import encode_image
from dmlcsr_jax.datasets.raw import Example, RawDataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.fields import check_range


class Gray(RawDataset[int]):
    """Gray images."""

    spec = FaceSpec("gray", ("background", "skin"))
    needs_path = False
    features = {"brightness": ((), np.float32)}

    def __init__(self, *, count: int = 2):
        check_range("count", count, at_least=1)
        self.key, self._count = f"{count}", count

    def items(self, split):
        return range(self._count) if split == "train" else ()

    def example(self, item):
        image = np.full((4, 6, 3), item, np.uint8)
        features = {"brightness": np.float32(item)}
        return Example(image=encode_image(image), labels=image[..., 0] % 2, name=str(item), features=features)
'''


@pytest.fixture
def gray(tmp_path, monkeypatch):
    """A data set of a user's own: one file and one entry."""
    (tmp_path / "gray_faces.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(DATASETS, "gray", "gray_faces:Gray")
    importlib.invalidate_caches()
    return {"name": "gray", "path": "", "data_dir": str(tmp_path / "prepared"), "bad_files": "stop"}


def test_own_data_set_is_one_file_and_one_entry(gray):
    assert datasets.get_spec("gray").class_names == ("background", "skin")
    assert datasets.prepare(DatasetSettings.from_config(gray)).splits == {"train": 2}
    dataset = datasets.prepare(DatasetSettings.from_config(gray | {"gray": {"count": 3}}))
    assert dataset.splits == {"train": 3} and dataset.directory.endswith("/gray/3/1.1.0")
    source = dataset.source("train")
    assert [source[i]["brightness"] for i in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match=r"^config\.dataset\.gray\.count is 0; it must be at least 1$"):
        datasets.prepare(DatasetSettings.from_config(gray | {"gray": {"count": 0}}))


@pytest.mark.parametrize("name", ["folder", "celebamask_hq", "lapa", "helen"])
def test_path_is_required(name):
    with pytest.raises(UserError, match=f"config.dataset.path is empty; name the folder with the raw data of {name}"):
        datasets.prepare(DatasetSettings(name))


@pytest.mark.parametrize(
    ("field", "value", "choices"),
    [("name", "imagenet", ", ".join(DATASETS)), ("bad_files", "ignore", "stop, skip")],
)
def test_unknown_choice(field, value, choices):
    with pytest.raises(UserError, match=rf"^config\.dataset\.{field} is '{value}'; it can be {choices}$"):
        DatasetSettings(**{"name": "lapa", field: value})


def test_default_data_dir_is_that_of_tfds(gray, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    dataset = datasets.prepare(DatasetSettings.from_config(gray | {"data_dir": ""}))
    assert dataset.directory == str(tmp_path / "elsewhere" / "gray" / "2" / "1.1.0")
