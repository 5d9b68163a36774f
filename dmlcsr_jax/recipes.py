"""Configurations by name, by file, and from a workdir."""

import difflib
import pathlib
import runpy
from collections.abc import Iterable, Sequence

from ml_collections import ConfigDict

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path, as_path, reaching

RECIPES = pathlib.Path(__file__).with_name("configs")


def read_config(name: str | None, workdir: str | None) -> ConfigDict | None:
    """The configuration NAME or FILE.py, either with `:argument`, or else of the workdir's config.json, or else none.

    Fields that the config.json of version 0.1.0 lacks take the values that it trained with.

    Raises:
      UserError: it cannot be read.
    """
    if name is None:
        return _read_workdir_config(as_path(workdir, "--workdir") / "config.json") if workdir else None
    path = find_recipe(name.partition(":")[0])
    argument = name.partition(":")[2]
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = get_config(*([argument] if argument else [])) if get_config else None
    except Exception as error:  # whatever a user's own file may do
        raise UserError(f"--config={name}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        found = f"returns {type(config).__name__}" if get_config else "is missing"
        raise UserError(f"--config={name}: its function get_config {found}; it must return a ConfigDict")
    _refuse_unknown_fields(name, config)
    return config


def _refuse_unknown_fields(name: str, config: ConfigDict) -> None:
    """Refuses a recipe that sets a field that configs/default.py does not have, naming the nearest one."""
    from flax.traverse_util import flatten_dict  # imports JAX, which parsing photos may do without

    fields = flatten_dict(_default().to_dict(), sep=".")
    for field in flatten_dict(config.to_dict(), sep="."):
        if field not in fields:
            raise UserError(f"--config={name}: there is no field {field}; did you mean {_nearest(field, fields)}?")


def _default() -> ConfigDict:
    return runpy.run_path(str(RECIPES / "default.py"))["get_config"]()


def find_recipe(name: str) -> pathlib.Path:
    """The file of a recipe: `name` itself, or the recipe of that name; UserError lists the recipes."""
    path, recipe = pathlib.Path(name), RECIPES / f"{name}.py"
    if path.is_file():
        return path
    if pathlib.Path(name).name == name and recipe.is_file():
        return recipe
    names = ", ".join(sorted(file.stem for file in RECIPES.glob("*.py")))
    raise UserError(f"--config={name}: no such file or recipe; the recipes are {names}")


def check_fields(argv: Sequence[str], config: ConfigDict) -> None:
    """Refuses --config.FIELD that the configuration does not have, naming the nearest one.

    Raises:
      UserError: there is no such field, or it is a section.
    """
    from flax.traverse_util import flatten_dict  # imports JAX, which parsing photos may do without

    fields = list(flatten_dict(config.to_dict(), sep="."))
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--config.")
        if not argument.startswith("--config.") or name in fields:
            continue
        below = [field for field in fields if field.startswith(f"{name}.")]
        if below:
            raise UserError(f"--config.{name} is a section; set one of its fields: {', '.join(below)}")
        near = _nearest(name, fields)
        raise UserError(
            f"--config.{name}: there is no such field; did you mean --config.{near}? All are in configs/default.py"
        )


def _nearest(name: str, fields: Iterable[str]) -> str:
    return difflib.get_close_matches(name, fields, n=1, cutoff=0)[0]


def _read_workdir_config(path: Path) -> ConfigDict | None:
    with reaching(path):
        if not path.exists():
            return None
    from flax.traverse_util import flatten_dict  # likewise

    from dmlcsr_jax.training.workdir import LATER_FIELDS, read_config_file

    try:
        config = _default()
        config.update_from_flattened_dict(LATER_FIELDS)
        config.update(read_config_file(path))
        for name, value in flatten_dict(config.to_dict(), sep=".").items():
            if value is None:
                raise ValueError(f"{name} is null")
        return config
    except Exception as error:  # ml_collections raises many kinds for values of another type
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read as a configuration ({reason}); name one with --config=FILE") from error
