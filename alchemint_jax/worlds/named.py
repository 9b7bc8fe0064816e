"""Worlds and trackers by name: ours, and those of users, which no file of this package knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.evaluate.boards import board as boards
from alchemint_jax.evaluate.cases import Benchmark, read_benchmark
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.imported import imported

OURS = ("sprites",)
DEFAULT = OURS[0]
"""What is asked for where nobody says."""
PERCEIVED, PROPOSALS = "perceived", "proposals"
"""Trackers that belong to no world and look at any video; the second one needs no detector."""


def benchmark(name: str) -> Benchmark:
    """The benchmark of a world: "sprites", or MODULE:NAME, an object in a module of the user's.

    Raises ConfigError if there is none of that name, or it is something else.
    """
    if name in OURS:
        from alchemint_jax.worlds.sprites import SpritesBenchmark

        return SpritesBenchmark()
    return imported(name, Benchmark, OURS, "alchemint_jax.evaluate")


def tracker(name: str, perceivers: Mapping[str, str] | None = None) -> Tracker:
    """The tracker of a world of ours, "perceived", "proposals", or MODULE:NAME.

    `perceivers` are names of `load_perceivers` for those two, by kind. Raises ConfigError if
    there is none of that name, it is something else, or it takes no perceivers.
    """
    if name in (PERCEIVED, PROPOSALS):
        from alchemint_jax.evaluate.perceived import perceived_tracker

        return perceived_tracker(name == PROPOSALS, **(perceivers or {}))
    if perceivers:
        raise ConfigError(f"--perceivers: are for --tracker {PERCEIVED}; {name} has its own eyes")
    if name in OURS:
        return benchmark(name).tracker
    return imported(name, Tracker, (*OURS, PERCEIVED, PROPOSALS), "alchemint_jax.evaluate")


def file(name: str) -> Path | None:
    """The file of a benchmark, if it is one; a world of that name comes first."""
    return None if name in OURS and not Path(name).is_file() else boards.find(name)


def chosen(
    name: str,
    watched_by: str | None,
    limit: int | None,
    options: tuple[str, str] = ("--benchmark", "--tracker"),
    perceivers: Mapping[str, str] | None = None,
) -> Benchmark:
    """The benchmark of a file, of a world of ours, or MODULE:NAME.

    Args:
        name: which.
        watched_by: who measures the clips of a file, by name; None is the tracker of sprites.
        limit: reads no more than the first so many storyboards of a file.
        options: what users call `name` and `watched_by`.
        perceivers: of a tracker that takes some, see `tracker`.

    Raises:
        ConfigError, DataError: there is none of that name, or a world was given a tracker.
    """
    if (path := file(name)) is not None:
        return read_benchmark(path, tracker(watched_by or DEFAULT, perceivers), limit)
    if perceivers:
        raise ConfigError(
            "--perceivers is for files and --videos; a world has a tracker of its own"
        )
    if watched_by:
        raise ConfigError(
            f"{options[1]} {watched_by}: is for files; the world of {options[0]} {name} has a "
            "tracker of its own"
        )
    return world(name, options[0])


def world(name: str, option: str = "--benchmark") -> Benchmark:
    """The benchmark of a world of ours, or MODULE:NAME; `option` is what users call the name.

    Raises:
        ConfigError, DataError: there is none of that name.
    """
    if name not in OURS and ":" not in name:
        raise DataError(
            f"{option} {name}: neither 'sprites' nor a file (one storyboard per line), nor a "
            f"set of this package ({', '.join(boards.names())}), nor MODULE:NAME (a benchmark in "
            "a Python module)"
        )
    return benchmark(name)
