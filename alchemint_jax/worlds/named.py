"""Worlds and trackers by name: ours, and those of users, which no file of this package knows."""

from __future__ import annotations

from pathlib import Path

from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.evaluate.boards import board as boards
from alchemint_jax.evaluate.cases import Benchmark, read_benchmark
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.imported import imported

OURS = ("sprites",)


def benchmark(name: str) -> Benchmark:
    """The benchmark of a world: "sprites", or MODULE:NAME, an object in a module of the user's.

    Raises ConfigError if there is none of that name, or it is something else.
    """
    if name in OURS:
        from alchemint_jax.worlds.sprites import SpritesBenchmark

        return SpritesBenchmark()
    return imported(name, Benchmark, OURS, "alchemint_jax.evaluate")


def tracker(name: str) -> Tracker:
    """The tracker of a world of ours, or MODULE:NAME; errors as those of `benchmark`."""
    if name in OURS:
        return benchmark(name).tracker
    return imported(name, Tracker, OURS, "alchemint_jax.evaluate")


def file(name: str) -> Path | None:
    """The file of a benchmark, if it is one; a world of that name comes first."""
    return None if name in OURS and not Path(name).is_file() else boards.find(name)


def chosen(
    name: str,
    watched_by: str | None,
    limit: int | None,
    options: tuple[str, str] = ("--benchmark", "--tracker"),
) -> Benchmark:
    """The benchmark of a file, of a world of ours, or MODULE:NAME.

    Args:
        name: which.
        watched_by: who measures the clips of a file, by name; None is the tracker of sprites.
        limit: reads no more than the first so many storyboards of a file.
        options: what users call `name` and `watched_by`.

    Raises:
        ConfigError, DataError: there is none of that name, or a world was given a tracker.
    """
    if (path := file(name)) is not None:
        return read_benchmark(path, tracker(watched_by or "sprites"), limit)
    if watched_by:
        raise ConfigError(
            f"{options[1]} {watched_by}: is for files; the world of {options[0]} {name} has a "
            "tracker of its own"
        )
    if name not in OURS and ":" not in name:
        raise DataError(
            f"{options[0]} {name}: neither 'sprites' nor a file (one storyboard per line), nor a "
            f"set of this package ({', '.join(boards.names())}), nor MODULE:NAME (a benchmark in "
            "a Python module)"
        )
    return benchmark(name)
