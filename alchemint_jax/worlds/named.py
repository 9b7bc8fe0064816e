"""Worlds and trackers by name: ours, and those of users, which no file of this package knows."""

from __future__ import annotations

import importlib
import operator
import sys
from pathlib import Path
from typing import Any

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.cases import Benchmark
from alchemint_jax.evaluate.tracker import Tracker

OURS = ("sprites",)


def benchmark(name: str) -> Benchmark:
    """The benchmark of a world: "sprites", or MODULE:NAME, an object in a module of the user's.

    Raises ConfigError if there is none of that name, or it is something else.
    """
    if name in OURS:
        from alchemint_jax.worlds.sprites import SpritesBenchmark

        return SpritesBenchmark()
    return _find(name, Benchmark)


def tracker(name: str) -> Tracker:
    """The tracker of a world of ours, or MODULE:NAME; errors as those of `benchmark`."""
    if name in OURS:
        return benchmark(name).tracker
    return _find(name, Tracker)


def _find(path: str, protocol: type) -> Any:
    """The object at MODULE:NAME, which is to have what a protocol asks for.

    Modules are looked for in the current folder too, as `python -m` does.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"{path}: neither {' nor '.join(map(repr, OURS))} nor MODULE:NAME")
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
            "alchemint_jax.evaluate for what it needs"
        )
    return found
