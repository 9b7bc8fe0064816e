"""Fields of configs: which there are, what each may hold, and the dataclasses made from them."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from typing import Any, Literal

from alchemint_jax.errors import ConfigError


def build(cls: type, fields: dict[str, Any], where: str) -> Any:
    """A dataclass from a dictionary; unknown fields are a ConfigError that lists the known ones."""
    known = [field.name for field in dataclasses.fields(cls)]
    if unknown := sorted(set(fields) - set(known)):
        raise ConfigError(
            f"{where}: unknown {', '.join(unknown)}; known fields: {', '.join(known)}"
        )
    return cls(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def read(text: str, hint: Any) -> Any:
    """A value as it is written on the command line, of the type that an annotation says.

    Text needs no quotes: `--config.data=2024` is a folder where the field is text.

    Raises:
        TypeError: it is of another type; with what the field may be.
    """
    value: Any
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = text
    for one in (value, text):
        found = _fit(one, hint)
        if found is not _NOT and not (one is text and text == "None"):
            return found
    raise TypeError(f"must be {describe(hint)}, not {text[:100]}")


_NOT = object()


def _fit(value: Any, hint: Any) -> Any:
    """The value, converted where that loses nothing, or `_NOT` where it is of another type."""
    members = typing.get_args(hint)
    if _is_union(hint):
        return next((x for x in (_fit(value, one) for one in members) if x is not _NOT), _NOT)
    if typing.get_origin(hint) is Literal:
        return value if value in members else _NOT
    if typing.get_origin(hint) is tuple:
        return _fit_tuple(value, members)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) and hint is not bool:
        return _NOT
    plain = hint in (bool, int, float, str, type(None))
    return value if plain and isinstance(value, hint) else _NOT


def _fit_tuple(value: Any, members: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _NOT
    hints = members[:1] * len(value) if members[1:] == (...,) else members
    if len(hints) != len(value):
        return _NOT
    found = tuple(_fit(one, hint) for one, hint in zip(value, hints, strict=True))
    return _NOT if any(one is _NOT for one in found) else found


_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "None",
}


def describe(hint: Any) -> str:
    """What an annotation allows, in words."""
    members = typing.get_args(hint)
    if _is_union(hint):
        return " or ".join(map(describe, members))
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, members))
    if typing.get_origin(hint) is tuple:
        if members[1:] == (...,):
            return f"a tuple, of any length, of {describe(members[0])}"
        return f"a tuple ({', '.join(map(describe, members))})"
    return _WORDS.get(hint, "set field by field")


def dataclass_of(hint: Any) -> type | None:
    """The dataclass that an annotation allows, alone or beside None; None where there is none."""
    candidates = typing.get_args(hint) if _is_union(hint) else (hint,)
    found = (one for one in candidates if isinstance(one, type) and dataclasses.is_dataclass(one))
    return next(found, None)


def hints(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass, by field, of what it is made from."""
    found = typing.get_type_hints(cls)
    return {field.name: found[field.name] for field in dataclasses.fields(cls) if field.init}


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
