"""What a lowered program holds."""

import collections
import functools
import re


def count_operations(text: str, name: str) -> int:
    """How often a StableHLO module runs an operation from `main`, functions that are called several times included."""
    functions: dict[str, collections.Counter] = {}
    calls: collections.Counter = collections.Counter()
    for line in text.splitlines():
        if found := re.match(r"\s*func\.func .*?@([\w.$-]+)\(", line):
            calls = functions[found[1]] = collections.Counter()
        calls.update(re.findall(r"\bcall @([\w.$-]+)\(", line))
        calls[""] += f"stablehlo.{name}" in line

    @functools.cache
    def total(function: str) -> int:
        return sum(times * (total(called) if called else 1) for called, times in functions[function].items())

    return total("main")
