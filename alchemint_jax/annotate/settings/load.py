"""Settings from a file and from the command line, and mistakes in them."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import os
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from alchemint_jax import documents
from alchemint_jax.annotate.settings.whole import Settings
from alchemint_jax.errors import ConfigError, StoryboardError

Real = float | int


def load_settings(
    path: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """Settings from a file, and from `PART.FIELD=VALUE` texts, which count more.

    Raises:
        ConfigError: naming the file, and the field that is unknown or of another type.
    """
    where = "settings" if path is None else str(path)
    values: Any = {}
    if path is not None:
        try:
            values = documents.read(path)[0] or {}
        except StoryboardError as error:
            raise ConfigError(str(error)) from error
    found = _build(Settings, values, where, "")
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--config.{text}: write --config.{name}=VALUE")
        chosen: Any = value
        for part in reversed(name.split(".")):
            chosen = {part: chosen}
        found = _build(Settings, chosen, "--config", "", found)
    return found


def _build(cls: type, values: Any, where: str, name: str, base: Any = None) -> Any:
    """A dataclass with other values in some of its fields."""
    if not isinstance(values, Mapping):
        fields = ", ".join(one.name for one in dataclasses.fields(cls))
        raise ConfigError(f"{where}: {name or 'the file'}: expected fields ({fields})")
    hints = typing.get_type_hints(cls)
    base = cls() if base is None else base
    changed = {}
    for key, value in values.items():
        full = f"{name}.{key}".lstrip(".")
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(hints)}"
            raise ConfigError(f"{where}: there is no field {full!r}; {hint}")
        if dataclasses.is_dataclass(hints[key]):
            changed[key] = _build(hints[key], value, where, full, getattr(base, key))
        else:
            changed[key] = _value(value, getattr(base, key), f"{where}: {full}")
    return dataclasses.replace(base, **changed)


def _value(value: Any, default: Any, where: str) -> Any:
    """The value, of the same kind as the default; texts are read where the default is none."""
    if isinstance(default, tuple):
        try:
            pairs = ast.literal_eval(value) if isinstance(value, str) else value
            return tuple((str(name), float(weight)) for name, weight in dict(pairs).items())
        except (ValueError, TypeError, SyntaxError):
            raise ConfigError(f"{where}: expected kinds and weights, such as crop: 1") from None
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = ast.literal_eval(value.strip().capitalize() if value in _WORDS else value)
        except (ValueError, SyntaxError):
            raise ConfigError(f"{where}: must be {_kind(default)}, not {value!r}") from None
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise ConfigError(f"{where}: must be {_kind(default)}, not {documents.describe(value)}")
    if isinstance(value, Real) and not isinstance(value, bool) and value < 0:
        raise ConfigError(f"{where}: must be at least 0, not {value}")
    return value


_WORDS = ("true", "false")


def _kind(default: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return kinds[type(default)]
