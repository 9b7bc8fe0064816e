"""What happens to subjects of the sprites world: for a while one turns another colour.

A change of colour is what the tracker measures most surely: hues are told apart by direction alone,
whatever the light, and a subject may move as it likes meanwhile. References show the colour that a
subject has before and after.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from alchemint_jax.worlds.sprites import shapes

LENGTH = (8, 16)
"""Shortest and longest event, in pixel frames: two to four latent frames."""
_ODDS = (0.1, 0.45, 0.45)  # of no event, one, two
_TRIES = 12


@dataclasses.dataclass(frozen=True)
class EventTruth:
    """An event of a clip: what is said of it, when it happens, and to which subject."""

    text: str
    during: tuple[int, int]
    """Pixel frames, half-open."""
    subject: int
    color: str
    """That the subject has during the event; no subject has it otherwise."""


def draw_events(
    rng: np.random.Generator,
    colors: Sequence[str],
    words: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]],
) -> tuple[EventTruth, ...]:
    """Up to two events, one after the other, while their subjects are on screen.

    Args:
        rng: what to draw from.
        colors: of the subjects.
        words: of the subjects.
        spans: pixel frames in which each subject is on screen.
    """
    free = [color for color in shapes.COLORS if color not in colors]
    wanted = int(rng.choice(len(_ODDS), p=_ODDS))
    events: list[EventTruth] = []
    rows = [(slot, span) for slot, runs in enumerate(spans) for span in runs]
    for _ in range(_TRIES if rows else 0):
        if len(events) == wanted:
            break
        slot, (first, last) = rows[rng.integers(len(rows))]
        length = int(rng.integers(LENGTH[0], LENGTH[1] + 1))
        color = str(rng.choice(free))
        if last - first < length:
            continue
        start = int(rng.integers(first, last - length + 1))
        if any(start < e.during[1] and e.during[0] < start + length for e in events):
            continue
        free.remove(color)
        text = f"the {words[slot]} turns {color}"
        events.append(EventTruth(text, (start, start + length), slot, color))
    return tuple(sorted(events, key=lambda event: event.during))


def recolored(paint: np.ndarray, other: np.ndarray, during: tuple[int, int]) -> np.ndarray:
    """Surfaces [f y x 3] of a subject, those of `other` during an event."""
    frames = np.arange(len(paint))[:, None, None, None]
    return np.where((frames >= during[0]) & (frames < during[1]), other, paint)
