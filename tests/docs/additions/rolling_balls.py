"""A dataset of one's own: balls that roll through a dark room. The guide shows this file."""

import sys

import numpy as np

from alchemint_jax.data import ClipShape, write_clips
from alchemint_jax.scene import Clock, Scene, Spans, Subject

COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}
SHAPE = ClipShape(frames=9, size=(32, 48), view_size=(16, 16), slots=2)


def paint(picture, row, column, color):
    rows, columns = np.indices(picture.shape[:2])
    picture[(rows - row) ** 2 + (columns - column) ** 2 <= 25] = COLORS[color]


def draw(seed, index):
    """A clip: who is on screen when, and its frames."""
    rng = np.random.default_rng([seed, index])
    video = np.full((SHAPE.frames, *SHAPE.size, 3), 40, np.uint8)
    subjects = []
    for slot, color in enumerate(rng.permutation(list(COLORS))[: rng.integers(1, SHAPE.slots + 1)]):
        start, end = sorted(rng.choice(SHAPE.frames + 1, 2, replace=False).tolist())
        for frame in range(start, end):
            paint(video[frame], 8 + 16 * slot, 8 + 4 * frame, color)
        picture = np.full((16, 16, 3), 255, np.uint8)
        paint(picture, 8, 8, color)
        subjects.append(Subject(f"{color} ball", Spans([(start, end)]), picture[None]))
    caption = " and ".join(f"a {subject.word}" for subject in subjects)
    clock = Clock(fps=8.0, frames=SHAPE.frames, stride=4)
    return Scene(f"clip {index}", caption, clock, tuple(subjects)), video


def write(folder):
    splits = {"train": (draw(0, i) for i in range(8)), "validation": (draw(1, i) for i in range(2))}
    write_clips(folder, "rolling_balls", SHAPE, splits)


if __name__ == "__main__":
    write(sys.argv[1])
