"""The sprites benchmark: clips of the world that no training seed draws, to be asked for."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import numpy as np

from alchemint_jax.evaluate.cases import Case
from alchemint_jax.worlds.sprites.tracker import SpritesTracker
from alchemint_jax.worlds.sprites.world import Clip, World, sample_clip

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

    def cases(self, pipe: Any, limit: int | None, seed: int) -> list[Case]:
        """The first cases of a seed; there is no end of them, so None is `self.limit`."""
        del pipe  # the world is as it is
        return sprites_cases(self.limit if limit is None else limit, seed)


def sprites_cases(limit: int = 128, seed: int = 0, world: World = WORLD) -> list[Case]:
    """Cases with one to three subjects, each of which asks for what a clip of the world shows."""
    cases: list[Case] = []
    counts = itertools.cycle(COUNTS)
    count = next(counts)
    for index in itertools.count():
        if len(cases) >= limit:
            return cases
        clip = sample_clip(index, seed=FIRST_SEED + seed, world=world, subjects=count)
        if not all(subject.intervals for subject in clip.subjects):
            continue  # a subject that never shows enough of itself asks for nothing
        cases.append(clip_case(f"sprites-{seed}-{index:05d}", clip, world))
        count = next(counts)
    raise AssertionError("unreachable")


def clip_case(name: str, clip: Clip, world: World) -> Case:
    """What a clip of the world shows, asked for."""
    return Case(
        id=name,
        prompt=_shortened(clip.caption),
        words=tuple(subject.word for subject in clip.subjects),
        references=np.stack([subject.references[0] for subject in clip.subjects]),
        intervals=tuple(subject.intervals for subject in clip.subjects),
        n_frames=world.frames,
        fps=world.fps,
        events=tuple((event.text, event.during) for event in clip.events),
        size=(world.size, world.size),
    )


def _shortened(caption: str) -> str:
    """Without its background where it would be cut off in mid-word."""
    if len(caption.encode()) <= MAX_PROMPT:
        return caption
    return re.sub(r" on an? \w+ background$", "", caption)
