"""The layout holds: imports point down one list of subpackages, and nothing pulls in TensorFlow or PyTorch."""

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "dmlcsr_jax"

# Each subpackage and those that it may import.
_BASE = {"types", "errors", "fields", "paths", "files", "console", "lazy"}
ALLOWED = {
    "lazy": set(),
    "errors": set(),
    "fields": {"errors"},
    "paths": {"errors"},
    "files": {"paths"},
    "console": {"files"},
    "types": {"fields"},
    "environment": set(),
    "processor": set(),
    "hosts": {"console", "errors"},
    "devices": {"types"},
    "datasets": _BASE | {"processor"},
    "pipeline": _BASE | {"processor", "datasets"},
    "ops": {"types"},
    "models": {"types", "errors", "fields", "paths", "files", "lazy", "ops"},
    "losses": {"types", "fields", "ops", "pipeline"},
    "checkpoints": _BASE | {"hosts", "datasets", "models"},
    "drawing": _BASE | {"datasets"},
    "evaluation": _BASE | {"hosts", "devices", "datasets", "pipeline", "models", "drawing"},
    "training": _BASE
    | {"hosts", "devices", "datasets", "pipeline", "ops", "models", "losses", "checkpoints", "drawing", "evaluation"},
    "inference": _BASE
    | {"environment", "processor", "datasets", "pipeline", "ops", "models", "checkpoints", "drawing"},
    "modes": _BASE | {"hosts", "datasets", "models", "checkpoints", "evaluation", "training", "inference"},
    "parse_modes": {"paths", "inference"},
    "recipes": {"errors", "paths", "training"},
    "command_flags": {"types"},
    "command": {"command_flags", "types", "errors", "paths", "recipes"},
    "cli": {"errors", "paths", "environment", "hosts", "models", "inference", "modes", "parse_modes", "command"},
    "configs": {"losses", "checkpoints"},
    "__init__": {"lazy", "errors", "datasets", "inference", "models"},
}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_the_list(path):
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imported_modules(path):
        root, _, rest = module.partition(".")
        assert root not in {"tensorflow", "torchvision"}, module
        assert root != "torch" or name == "models", module
        if root == PACKAGE.name:
            target = rest.split(".")[0]
            assert target in ALLOWED[name] | {name, "__version__"}, f"{path} imports {module}"


def test_only_the_boundary_reads_a_configuration():
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "configs" and any("ml_collections" in module for module in imported_modules(path))
    }
    assert readers == {"command.py", "command_flags.py", "recipes.py", "modes.py", "training/experiment.py"}


def test_lines_are_printed_as_they_are():
    """Rich would read brackets in a path as markup."""
    users = {path.name for path in PACKAGE.rglob("*.py") if re.search(r"console\.print\(\s*f?\"", path.read_text())}
    assert not users


def test_only_steps_call_pmap():
    users = {p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py") if "jax.pmap(" in p.read_text()}
    assert users == {"training/steps.py", "evaluation/steps.py"}
