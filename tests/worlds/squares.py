"""A second world, as a user writes one: a coloured square on grey, on the left or on the right."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from alchemint_jax.data import ClipShape
from alchemint_jax.evaluate import Sighting
from alchemint_jax.scene import Clock, Scene, Spans, Subject

COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}
FRAMES, SIZE, SLOTS = 5, 16, 2
SHAPE = ClipShape(FRAMES, (SIZE, SIZE), view_size=(8, 8), slots=SLOTS, spans=1)


def draw(seed):
    """A clip, the colours of its squares from left to right, and when each is on screen."""
    rng = np.random.default_rng(seed)
    video = np.full((FRAMES, SIZE, SIZE, 3), 128, np.uint8)
    words = [str(word) for word in rng.permutation(list(COLORS))[: rng.integers(1, SLOTS + 1)]]
    spans = [sorted(rng.choice(FRAMES + 1, 2, replace=False).tolist()) for _ in words]
    for slot, (word, (start, end)) in enumerate(zip(words, spans, strict=True)):
        video[start:end, 5:11, 8 * slot + 1 : 8 * slot + 7] = COLORS[word]
    return video, words, spans


def image(word):
    view = np.full((8, 8, 3), 255, np.uint8)
    view[2:6, 2:6] = COLORS[word]
    return view


def scene(name, words, spans):
    subjects = [
        Subject(word, Spans([span]), image(word)[None])
        for word, span in zip(words, spans, strict=True)
    ]
    caption = " and ".join(f"a {word} square" for word in words)
    return Scene(name, caption, Clock(8.0, FRAMES, 4), tuple(subjects))


class TimedSquares(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    code_path = epath.Path(__file__)

    def _info(self):
        features = SHAPE.features()
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(8)),
            "validation": self._generate_examples(range(8, 10)),
        }

    def _generate_examples(self, seeds):
        for index, seed in enumerate(seeds):
            video, *said = draw(seed)
            yield index, SHAPE.record(scene(f"clip {index}", *said), video, index)


class SquaresTracker:
    measures = {"area": "share of its area"}
    notes = {"How squares are found": "By their colours."}

    def check(self, image):
        pass

    def track(self, video, case):
        views = [subject.picture((8, 8)) for subject in case.subjects]
        return [self._sighting(video.astype(int), view) for view in views]

    def _sighting(self, video, view):
        color = view[len(view) // 2, len(view) // 2].astype(int)
        name = min(COLORS, key=lambda word: np.abs(color - COLORS[word]).sum())
        area = (np.abs(video - COLORS[name]).sum(-1) < 60).sum((1, 2)) / 36
        seen = name if (area > 0.3).any() else None
        return Sighting(area > 0.3, name, seen, {"area": area.max() if seen else np.nan})


class Squares:
    name, limit, tracker = "squares", 4, SquaresTracker()

    def cases(self, pipe, limit, seed):
        return [scene(f"squares-{seed}-{i}", *draw([99, seed, i])[1:]) for i in range(limit)]


SQUARES = Squares()
