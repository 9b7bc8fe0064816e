"""A world that costs nothing: how long a subject is shown is a sum over the weights of a run."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.evaluate import Sighting
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Clock, Scene, Spans, Subject

FRAMES = 33


class Watching:
    """Sees a subject in bright frames."""

    measures = {"bright": "brightness"}
    notes: dict[str, str] = {}

    def check(self, image):
        pass

    def track(self, video, case):
        presence = video.mean((1, 2, 3)) > 100
        return [Sighting(presence, "disc", "disc", {"bright": float(video.mean())})]


@dataclasses.dataclass(frozen=True)
class Boards:
    name: str = "toy"
    limit: int = 4
    tracker: Watching = Watching()

    def cases(self, pipe, limit, seed):
        return [board(seed, i) for i in range(limit)]


BOARDS = Boards()


def board(seed, i):
    subject = Subject("disc", Spans([(0, 10 + i)]), np.zeros((1, 4, 4, 3), np.uint8))
    return Scene(f"toy-{seed}-{i}", "a disc", Clock(8.0, FRAMES, 4), (subject,))


@dataclasses.dataclass(frozen=True)
class Pipe:
    """Shows a board's subject from the first frame on, so long as its weights and noise say."""

    params: dict | None
    settings: Settings = Settings()
    bad: bool = False

    def check(self, scene):
        assert scene.subjects

    def render(self, scenes, *, seed, steps, guidance):
        assert self.params is not None
        if self.bad:
            raise NonFiniteError("the transformer gave latents that are NaN")
        total = sum(float(np.abs(np.asarray(x)).sum()) for x in jax.tree.leaves(self.params))
        videos = np.zeros((len(scenes), FRAMES, 4, 4, 3), np.uint8)
        for i, video in enumerate(videos):
            video[: 1 + int(977 * total + 7 * seed + 3 * i) % FRAMES] = 200
        return videos
