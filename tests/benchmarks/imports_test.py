"""The benchmarks import each other in one direction."""

import ast
import graphlib
import pathlib

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


def imports(path):
    """Names of the benchmark modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "benchmarks":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("benchmarks."):
            yield node.module.removeprefix("benchmarks.")
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("benchmarks.") for a in node.names if a.name.startswith("benchmarks."))


def test_imports_have_no_cycle():
    graph = {path.stem: set(imports(path)) for path in BENCHMARKS.glob("*.py")}
    assert graph["torch_sides"] >= {"side_by_side", "torch_network"}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError
