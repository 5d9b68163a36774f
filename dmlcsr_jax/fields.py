"""Fields that users set: each object checks its own, and the boundary to the configuration names their section."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dmlcsr_jax.errors import UserError

T = TypeVar("T")


class FieldError(UserError):
    """A field is out of range; `in_section` adds the section of the configuration that the field belongs to."""


def check_choice(field: str, value: object, choices: Iterable[str]) -> None:
    """Raises FieldError unless `value` is one of `choices`."""
    choices = tuple(choices)
    if value not in choices:
        raise FieldError(f"{field} is {value!r}; it can be {', '.join(choices)}")


def check_range(
    field: str,
    value: float,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raises FieldError unless `value` keeps all bounds; infinity and NaN never do."""
    if at_least <= value <= at_most and above < value < below:
        return
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
    raise FieldError(f"{field} is {value}; it must be {wanted or 'finite'}")


@contextlib.contextmanager
def in_section(section: str) -> Iterator[None]:
    """Within it a FieldError names its section of the configuration too: `config.model.stem` instead of `stem`."""
    try:
        yield
    except FieldError as error:
        raise UserError(f"{section}.{error}") from error


def read_section(create: Callable[..., T], config: Mapping[str, Any], section: str) -> T:
    """The dataclass `create`, made from those fields of `config[section]` that it has.

    Raises:
      UserError: a field is out of range; names it as `config.SECTION.FIELD`.
    """
    given = config[section]
    names = [field.name for field in dataclasses.fields(create) if field.name in given]  # pyright: ignore[reportArgumentType]
    with in_section(f"config.{section}"):
        return create(**{name: given[name] for name in names})
