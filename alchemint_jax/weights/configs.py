"""Frozen dataclasses to JSON objects and back, without ever naming code to run.

A nested dataclass (a model's positional scheme, say) is stored as `{"_class": name, ...fields}`
and its name is looked up among allowed classes only.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemint_jax.errors import WeightsError, listed

# Switches in files written by earlier versions, and what they are called now.
_OLDER = {"DiTConfig": {"remat": {False: "none", True: "full"}}}


def config_to_dict(config: Any) -> dict[str, Any]:
    """The fields of a frozen dataclass as plain JSON values; tuples become lists."""
    return {f.name: _encode(getattr(config, f.name), f.name) for f in dataclasses.fields(config)}


def _encode(value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"_class": type(value).__name__, **config_to_dict(value)}
    if isinstance(value, (tuple, list)):
        return [_encode(v, where) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _encode(v, where) for k, v in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise WeightsError(
        f"field {where!r} of the configuration is a {type(value).__name__}, which config.json "
        "cannot hold; use numbers, strings, tuples or frozen dataclasses of these"
    )


def config_from_dict(
    cls: type,
    values: Mapping[str, Any],
    classes: Mapping[str, type] | None = None,
    where: str = "config.json",
) -> Any:
    """Build the dataclass `cls` from what `config_to_dict` made; absent fields keep defaults.

    Args:
        cls: the dataclass.
        values: its fields; a "_class" entry is ignored.
        classes: dataclasses a nested "_class" may name; by default those of `rotary`.
        where: named in errors.

    Raises:
        WeightsError: unknown or missing fields, values of the wrong type, classes not allowed.
    """
    classes = _rotary_classes() if classes is None else classes
    fields = {f.name: f for f in dataclasses.fields(cls)}
    given = {k: v for k, v in values.items() if k != "_class"}
    unknown = sorted(given.keys() - fields.keys())
    if unknown:
        raise WeightsError(
            f"{where}: {cls.__name__} has no field {', '.join(listed([*map(repr, unknown)]))}; "
            f"it has {', '.join(fields)}"
        )
    missing = [
        name
        for name, f in fields.items()
        if name not in given
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise WeightsError(f"{where}: {cls.__name__} lacks {', '.join(map(repr, missing))}")
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # an annotation imported for type checkers only
        hints = {}
    for name, renamed in _OLDER.get(cls.__name__, {}).items():
        if isinstance(given.get(name), bool):
            given[name] = renamed[given[name]]
    kwargs = {k: _decode(v, hints.get(k, Any), classes, f"{where}: {k}") for k, v in given.items()}
    try:
        return cls(**kwargs)
    except (TypeError, ValueError) as e:
        raise WeightsError(f"{where}: {e}") from e


def _rotary_classes() -> dict[str, type]:
    from alchemint_jax import rotary

    return {
        name: value
        for name, value in vars(rotary).items()
        if not name.startswith("_") and isinstance(value, type) and dataclasses.is_dataclass(value)
    }


def _decode(value: Any, hint: Any, classes: Mapping[str, type], where: str) -> Any:
    if isinstance(value, Mapping) and "_class" in value:
        name = value["_class"]
        if not isinstance(name, str) or name not in classes:
            raise WeightsError(
                f"{where}: unknown class {name!r}; known here: {', '.join(sorted(classes))}"
            )
        return config_from_dict(classes[name], value, classes, where)
    items = _items(hint, len(value)) if isinstance(value, list) else None
    if items is not None:  # only tuples: configurations are hashable
        pairs = zip(value, items, strict=True)
        return tuple(_decode(v, h, classes, f"{where}[{i}]") for i, (v, h) in enumerate(pairs))
    allowed = (hint, *typing.get_args(hint))
    if type(value) is int and float in allowed and int not in allowed:
        return float(value)  # JSON writers differ on 1 and 1.0
    if not _is_a(value, hint):
        wanted = hint.__name__ if isinstance(hint, type) else str(hint)
        raise WeightsError(f"{where} is {value!r}; expected {wanted}")
    return value


def _items(hint: Any, count: int) -> list[Any] | None:
    """Annotations of the items of a list, if it fits; None if it does not."""
    if hint in (Any, tuple):
        return [Any] * count
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        fits = (_items(h, count) for h in typing.get_args(hint))
        return next((items for items in fits if items is not None), None)
    if typing.get_origin(hint) is not tuple:
        return None
    args = typing.get_args(hint)
    if args[1:] == (Ellipsis,):
        return [args[0]] * count
    return list(args) if len(args) == count else None


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a plain JSON value fits an annotation, as far as plain types can tell."""
    if hint in (bool, int, float, str, types.NoneType):
        return type(value) is hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_is_a(value, h) for h in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    # A tuple or a dataclass is required, but a list or an object would have been decoded above.
    return not (typing.get_origin(hint) is tuple or dataclasses.is_dataclass(hint))
