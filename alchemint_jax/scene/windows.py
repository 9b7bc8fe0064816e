"""A part of a scene as a scene of its own: some of its frames, at a rate of their own."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int

from alchemint_jax.scene.clock import Clock, Number
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans


def window(scene: Scene, shown: Int[np.ndarray, " n"], fps: Number) -> Scene:
    """What a clip shows that is made of these frames of a scene, one after the other.

    A span covers those frames of the clip that show a covered frame of the scene. All subjects are
    kept, for pictures count them; those that are not there have no spans. Events that are not there
    are left out. A cut is where the first frame of its shot, or a later one, is first shown.

    Args:
        scene: the whole.
        shown: numbers of its frames, in ascending order.
        fps: frames of the clip in a second.
    """

    def covered(spans: Spans) -> Spans:
        there = np.zeros(int(scene.clock.frames), bool)
        for start, end in spans:
            there[start:end] = True
        return Spans.where(there[shown])

    subjects = [dataclasses.replace(one, spans=covered(one.spans)) for one in scene.subjects]
    starts = np.unique(np.searchsorted(shown, scene.cuts))
    events = [dataclasses.replace(one, spans=covered(one.spans)) for one in scene.events]
    return dataclasses.replace(
        scene,
        clock=Clock(fps, len(shown), scene.clock.stride),
        subjects=tuple(subjects),
        events=tuple(event for event in events if event.spans),
        keyframes=(),
        keyframes_at=None,
        cuts=tuple(int(at) for at in starts if 0 < at < len(shown)),
    )
