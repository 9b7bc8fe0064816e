"""Objects of users by name: MODULE:NAME, wherever something of ours may be replaced."""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from alchemint_jax.errors import ConfigError


def imported(path: str, protocol: type, ours: Collection[str], room: str) -> Any:
    """The object at MODULE:NAME, which is to have what a protocol asks for.

    Modules are looked for in the current folder too, as `python -m` does.

    Args:
        path: MODULE:NAME.
        protocol: what the object must be; it must be checkable at runtime.
        ours: the names that would have done, too.
        room: where the protocol is documented, such as "alchemint_jax.evaluate".

    Raises:
        ConfigError: there is none of that name, or it is something else.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"{path}: neither {' nor '.join(map(repr, ours))} nor MODULE:NAME")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        home = importlib.import_module(module)
    except Exception as error:  # whatever the code of others raises
        raise ConfigError(f"{path}: {module} cannot be imported: {error!r}") from error
    try:
        found = operator.attrgetter(name)(home)
    except AttributeError as error:
        raise ConfigError(f"{path}: {error}") from error
    kind = protocol.__name__
    if isinstance(found, type):
        raise ConfigError(
            f"{path}: is a class; give an object of it, such as {name.lower()} = {name}()"
        )
    if not isinstance(found, protocol):
        raise ConfigError(
            f"{path}: a {type(found).__name__} is no {kind.lower()}: see {kind} in "
            f"{room} for what it needs"
        )
    return found
