"""The sprites benchmark: clips of the world that no training seed draws, to be asked for."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.scene.scene import Scene
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from alchemint_jax.worlds.sprites.world import World, sample_clip

WORLD = World()
FIRST_SEED = 2**32
"""Benchmark clips are drawn from seeds `FIRST_SEED + seed`; training uses small ones, so no clip is
shared."""
MAX_PROMPT = 111
"""Bytes of a caption that models of this world read: the loader's 112 tokens, less the last."""
COUNTS = (1, 2, 2, 1, 3)
"""Number of subjects of successive sprites cases."""


@dataclasses.dataclass(frozen=True)
class SpritesBenchmark:
    """`sprites_cases` as a benchmark (see `evaluate.Benchmark`)."""

    name: str = "sprites"
    tracker: SpritesTracker = SpritesTracker()
    limit: int = 128

    def cases(self, pipe: Any, limit: int | None, seed: int) -> list[Scene]:
        """The first cases of a seed; there is no end of them, so None is `self.limit`."""
        del pipe  # the world is as it is
        return sprites_cases(self.limit if limit is None else limit, seed)


def sprites_cases(limit: int = 128, seed: int = 0, world: World = WORLD) -> list[Scene]:
    """Cases with one to three subjects, each of which asks for what a clip of the world shows."""
    return [scene for scene, _ in sprites_clips(limit, seed, world)]


def sprites_clips(
    limit: int = 128, seed: int = 0, world: World = WORLD
) -> Iterator[tuple[Scene, UInt8[np.ndarray, "f h w 3"]]]:
    """The cases of `sprites_cases`, each with the clip that shows just what it asks for."""
    counts = itertools.cycle(COUNTS)
    count, made = next(counts), 0
    for index in itertools.count():
        if made >= limit:
            return
        clip = sample_clip(index, seed=FIRST_SEED + seed, world=world, subjects=count)
        if not all(subject.spans for subject in clip.scene.subjects):
            continue  # a subject that never shows enough of itself asks for nothing
        yield named(f"sprites-{seed}-{index:05d}", clip.scene), clip.video
        count, made = next(counts), made + 1


def named(name: str, scene: Scene) -> Scene:
    """What a clip of the world shows, asked for by this name."""
    return dataclasses.replace(scene, id=name, caption=_shortened(scene.caption))


def _shortened(caption: str) -> str:
    """Without its background where it would be cut off in mid-word."""
    if len(caption.encode()) <= MAX_PROMPT:
        return caption
    return re.sub(r" on an? \w+ background$", "", caption)
