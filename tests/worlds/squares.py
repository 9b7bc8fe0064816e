"""A second world, as a user writes one: a coloured square on grey, on the left or on the right."""

import numpy as np

from alchemint_jax.data import ClipShape
from alchemint_jax.evaluate import Sighting
from alchemint_jax.scene import Clock, Scene, Spans, Subject

COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}
SHAPE = ClipShape(5, (16, 16), view_size=(8, 8), slots=2, spans=1)


def draw(*seed):
    """Who is on screen when, and the frames."""
    rng, subjects = np.random.default_rng(seed), []
    video = np.full((SHAPE.frames, *SHAPE.size, 3), 128, np.uint8)
    for slot, color in enumerate(rng.permutation(list(COLORS))[: rng.integers(1, SHAPE.slots + 1)]):
        start, end = sorted(rng.choice(SHAPE.frames + 1, 2, replace=False).tolist())
        video[start:end, 5:11, 8 * slot + 1 : 8 * slot + 7] = COLORS[color]
        picture = np.full((1, *SHAPE.view_size, 3), 255, np.uint8)
        picture[:, 2:6, 2:6] = COLORS[color]
        subjects.append(Subject(str(color), Spans([(start, end)]), picture))
    caption = " and ".join(f"a {subject.word} square" for subject in subjects)
    clock = Clock(8.0, SHAPE.frames, 4)
    return Scene("-".join(map(str, seed)), caption, clock, tuple(subjects)), video


class SquaresTracker:
    measures = {"area": "share of its area"}
    notes = {"How squares are found": "By their colours."}

    def check(self, image):
        pass

    def track(self, video, case):
        return [sighting(video, subject.picture((8, 8))[4, 4]) for subject in case.subjects]


def sighting(video, color):
    name = min(COLORS, key=lambda word: np.abs(np.subtract(COLORS[word], color)).sum())
    area = (np.abs(video.astype(int) - COLORS[name]).sum(-1) < 60).sum((1, 2)) / 36
    seen = name if (area > 0.3).any() else None
    return Sighting(area > 0.3, name, seen, {"area": area.max() if seen else np.nan})


class Squares:
    name, limit, tracker = "squares", 4, SquaresTracker()

    def cases(self, pipe, limit, seed):
        return [draw(99, seed, i)[0] for i in range(limit)]


SQUARES = Squares()
