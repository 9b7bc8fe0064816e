"""`--config.FIELD=VALUE`: any field of what a config builds, also one that the file leaves out."""

from __future__ import annotations

import difflib
import typing
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.train.dit_fields import NAMED
from alchemint_jax.train.fields import dataclass_of, hints, read
from alchemint_jax.train.tasks import top_fields


def override(config: ConfigDict, text: str, path: Path) -> None:
    """Sets one field, `a.b=value`; its type is that of the dataclass which the config builds.

    Raises:
        ConfigError: there is no such field, or the value is of another type.
    """
    name, equals, value = text.partition("=")
    *parents, last = name.split(".")
    node: Any = config
    known: dict[str, Any] = top_fields(config)
    for part in parents:
        if part not in known:
            raise _no_field(path, text, name, known)
        if node.get(part) is None:
            with node.unlocked(), node.ignore_type():
                node[part] = ConfigDict(_empty(part))
        node, known = node[part], _fields(part, known[part], node[part])
    if not equals or last not in known:
        raise _no_field(path, text, name, known)
    try:
        found = read(value, known[last])
    except TypeError as error:
        raise ConfigError(f"{path}: --config.{text}: {name} {error}") from error
    # The annotation is what counts: ConfigDict would keep None, or a tuple's length, as they are.
    with node.unlocked(), node.ignore_type():
        node[last] = found


def _fields(name: str, hint: Any, node: Any) -> dict[str, Any]:
    """Annotations of the fields inside a field; none where it is a plain value."""
    if not isinstance(node, ConfigDict):
        return {}
    if name in NAMED:
        chosen = NAMED[name].get(node.get("name"))
        return {"name": str, **(hints(chosen) if chosen else {})}
    if hint is dict:
        found = typing.get_type_hints(sharding.make_mesh)
        return {axis: found[axis] for axis in sharding.MESH_AXES}
    inner = dataclass_of(hint)
    return hints(inner) if inner else {}


def _empty(name: str) -> dict[str, Any]:
    """A part that a file leaves out, as it is by default."""
    return {"name": next(iter(NAMED[name]))} if name in NAMED else {}


def _no_field(path: Path, text: str, name: str, known: dict[str, Any]) -> ConfigError:
    near = difflib.get_close_matches(name.rpartition(".")[2], known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"{path}: --config.{text}: there is no field {name!r}{hint}")
