"""When subjects might be on screen: drawn from a seed, or said by a server and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.scene.spans import Spans

Real = float | int
SHORTEST = 0.5
"""Seconds: what is on screen for less can hardly be told from a flicker."""

_SHARE = (0.25, 0.6)  # of the video: who is always there scores about .42
_EDGE = 0.2  # how often a subject is there from the beginning; and how often until the end
_RETURNS = 0.2  # how often one leaves and comes back
_STEP = 10  # times are tenths of a second, for people to read


def drawn(rng: np.random.Generator, count: int, duration: Real) -> list[Spans]:
    """Times of `count` subjects, in the order in which they come.

    Each is on screen for a quarter to six tenths of the video. One in five is there from the
    beginning, one in five until the end, and one in five leaves and comes back. Videos of less than
    a second show everybody all the time.

    Args:
        rng: what they are drawn from.
        count: subjects.
        duration: of the video, in seconds.
    """
    if duration < 2 * SHORTEST:
        return [Spans([(0.0, float(duration))])] * count
    found = []
    for _ in range(count):
        length = max(SHORTEST, duration * rng.uniform(*_SHARE))
        start = rng.uniform(0, duration - length)
        edge = rng.random()
        if edge < _EDGE:
            start = 0.0
        elif edge < 2 * _EDGE:
            start = duration - length
        rows = [(start, start + length)]
        if rng.random() < _RETURNS and length >= 3 * SHORTEST:
            gap = rng.uniform(SHORTEST, length - 2 * SHORTEST)
            first = rng.uniform(SHORTEST, length - gap - SHORTEST)
            rows = [(start, start + first), (start + first + gap, start + length)]
        found.append(_rounded(rows, duration))
    return sorted(found, key=lambda spans: spans[0][0])


def _rounded(rows: Sequence[tuple[float, float]], duration: Real) -> Spans:
    """On tenths of a second, and no shorter than it may be."""
    made = []
    for start, end in rows:
        first = round(start * _STEP)
        last = max(round(end * _STEP), first + math.ceil(SHORTEST * _STEP))
        if last / _STEP > duration:  # rounded past the end
            first, last = first - 1, last - 1
        made.append((first / _STEP, last / _STEP))
    return Spans(made)


def checked(rows: Any, duration: Real) -> Spans:
    """Times that a server says.

    Args:
        rows: a list of objects with `start` and `end`, in seconds.
        duration: of the video, in seconds.

    Raises:
        ValueError: there are none, or too many; one is no time of this video, or shorter than half
            a second; or two overlap. The message is for the server.
    """
    if not isinstance(rows, list) or not 1 <= len(rows) <= 4:
        raise ValueError("appears must be a list of one to four times")
    found = []
    for row in rows:
        ends: tuple[Any, Any] = (0, 0)
        if isinstance(row, Mapping):
            ends = row.get("start"), row.get("end")
        start, end = ends
        if any(isinstance(x, bool) or not isinstance(x, (int, float)) for x in (start, end)):
            raise ValueError("start and end must be numbers of seconds")
        if not 0 <= start < end <= duration + 1e-6:  # NaN fails too
            raise ValueError(f"start and end must be times between 0 and {duration:g} seconds")
        if end - start < SHORTEST - 1e-6:
            raise ValueError(f"a subject must be on screen for at least {SHORTEST:g} seconds")
        found.append((round(float(start), 3), min(round(float(end), 3), float(duration))))
    found.sort()
    if any(second[0] < first[1] for first, second in zip(found, found[1:], strict=False)):
        raise ValueError("two times of one subject overlap")
    return Spans(found)
