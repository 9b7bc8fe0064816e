"""Worlds and trackers by name: ours, and those of users, which no file of this package knows."""

from __future__ import annotations

from alchemint_jax.evaluate.cases import Benchmark
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
