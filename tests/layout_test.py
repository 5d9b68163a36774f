"""The house keeps its shape: imports point up only, and nothing drags in TensorFlow or PyTorch."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "dmlcsr_jax"

# Each room and those it may import from.
ALLOWED = {
    "types": set(),
    "errors": set(),
    "console": set(),
    "environment": set(),
    "hosts": {"console", "errors"},
    "datasets": {"errors", "console"},
    "pipeline": {"types", "errors", "datasets"},
    "models": {"types", "errors", "pipeline"},
    "losses": {"types", "datasets", "pipeline"},
    "training": {"types", "console", "errors", "hosts", "datasets", "pipeline", "models", "losses"},
    "evaluation": {"console", "errors", "datasets", "pipeline", "training"},
    "inference": {"types", "console", "errors", "datasets", "pipeline", "models", "training", "evaluation"},
    "app": {"console", "errors", "hosts", "datasets", "evaluation", "inference", "models", "pipeline", "training"},
}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_up(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imported_modules(path):
        root, _, rest = module.partition(".")
        assert root not in {"tensorflow", "torchvision"}, module
        assert root != "torch" or room == "models", module
        if root == PACKAGE.name:
            target = rest.split(".")[0]
            assert target in ALLOWED[room] | {room, "__version__"}, f"{path} imports {module}"


def test_models_and_losses_see_no_config():
    for room in ("models", "losses", "pipeline"):
        for path in (PACKAGE / room).rglob("*.py"):
            assert not any("ml_collections" in module for module in imported_modules(path)), path


def test_only_steps_call_pmap():
    users = {p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.py") if "jax.pmap(" in p.read_text()}
    assert users == {"training/steps.py"}
