"""Worlds and trackers by name: ours, and those of users, which no file of this package knows."""

from __future__ import annotations

from collections.abc import Mapping

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.cases import Benchmark
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.imported import imported

OURS = ("sprites",)
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
