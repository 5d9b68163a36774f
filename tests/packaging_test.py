"""The wheel: what it contains, and that a clone and an installed wheel run recipes alike from any folder."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from dmlcsr_jax.datasets.faces import draw_face

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = {path.name for path in (ROOT / "configs").glob("*.py")}
OWN_RECIPE = """
from dmlcsr_jax.configs import default

def get_config(arg=""):
    if arg == "where":
        raise ValueError(f"defaults of {default.__file__}")
    config = default.get_config()
    return default.finish(config, arg)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that no earlier build adds files to it and none is left in the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("dmlcsr_jax", "configs", "tests"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE", "main.py"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    subprocess.run([*build, source], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@dataclasses.dataclass(frozen=True)
class Command:
    """The command as run from another folder, which holds a recipe of its own; `package` is where the code lies."""

    package: pathlib.Path
    words: tuple[str, ...]
    folder: pathlib.Path
    env: dict[str, str]

    def __call__(self, *arguments):
        options = {"cwd": self.folder, "env": self.env, "capture_output": True, "text": True, "timeout": 120}
        return subprocess.run([*self.words, *arguments], **options)

    def fail(self, *arguments):
        """The one line of a command that fails."""
        done = self(*arguments)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 1 and line.startswith("error: "), line
        return line


@pytest.fixture(scope="module", params=["clone", "wheel"])
def command(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "mine.py").write_text(OWN_RECIPE)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if request.param == "clone":
        return Command(ROOT, (sys.executable, str(ROOT / "main.py")), folder, env)
    package = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(request.getfixturevalue("wheel")).extractall(package)
    words = (sys.executable, "-c", "from dmlcsr_jax.cli import main; main()")
    return Command(package, words, folder, env | {"PYTHONPATH": str(package)})


def test_the_wheel_contains_the_package_and_its_recipes_only(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dmlcsr_jax"}
    assert {pathlib.Path(name).name for name in names if name.startswith("dmlcsr_jax/configs/")} == RECIPES
    assert "dmlcsr_jax/py.typed" in names
    pages = [path for kind in ("html", "css", "js") for path in (ROOT / "dmlcsr_jax").rglob(f"*.{kind}")]
    assert pages and {path.relative_to(ROOT).as_posix() for path in pages} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dmlcsr_jax").rglob("*.py")}
    assert modules <= set(names)


def test_the_wheel_contains_the_weights_and_their_license(wheel):
    """WEIGHTS_LICENSE.md lies beside the weights, and among the licenses of the wheel's metadata."""
    folder = ROOT / "dmlcsr_jax" / "weights"
    there = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        packed = {name for name in names if name.startswith("dmlcsr_jax/weights/")}
        (metadata,) = (files.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert "dmlcsr_jax/weights/portrait/WEIGHTS_LICENSE.md" in packed and packed == there
    assert "License-Expression: Apache-2.0 AND LicenseRef-" in metadata
    for license_file in ("LICENSE", "dmlcsr_jax/weights/portrait/WEIGHTS_LICENSE.md"):
        assert f"License-File: {license_file}\n" in metadata
        assert any(name.endswith(f".dist-info/licenses/{license_file}") for name in names)


def test_the_installed_command_parses_a_photo_without_a_workdir(command):
    Image.fromarray(draw_face(0, 96)[0]).save(command.folder / "photo.png")
    done = command("--mode=predict", "--faces=whole", "photo.png")
    assert done.returncode == 0, done.stderr
    with Image.open(command.folder / "predictions" / "photo.png") as labels:
        assert labels.size == (96, 96)


def test_the_wheel_installs_the_command(wheel):
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith("entry_points.txt"))
        assert "dmlcsr = dmlcsr_jax.cli:main" in files.read(name).decode()


def test_help(command):
    done = command("--help")
    assert done.returncode == 0 and "--workdir" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("recipe", "typo", "field"),
    [
        ("celebamask_hq:debug", "model.witdh", "model.width"),
        ("mine.py", "model.bakcbone", "model.backbone"),
        ("mine.py:debug", "model.witdh", "model.width"),
    ],
)
def test_recipes_are_found_from_any_folder(command, recipe, typo, field):
    """The error for a misspelled field names the nearest field of the recipe, so the recipe was read."""
    assert field in command.fail(f"--config={recipe}", "--workdir=run", f"--config.{typo}=8")


def test_own_recipes_import_the_defaults_of_this_package(command):
    assert f"defaults of {command.package / 'dmlcsr_jax' / 'configs' / 'default.py'}" in command.fail(
        "--config=mine.py:where", "--workdir=run"
    )


def test_an_unknown_recipe_lists_the_recipes(command):
    line = command.fail("--config=celeba", "--workdir=run")
    assert all(pathlib.Path(name).stem in line for name in RECIPES), line
