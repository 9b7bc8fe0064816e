"""Every second frame is searched first, and one between two only where these differ.

Most frames show what their neighbours show. A frame is left out where each thing that is seen in
one of its neighbours is seen at nearly the same place in the other one, or nothing is seen in both:
what comes or goes for less time than lies between these is closed as a gap, or dropped as noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from alchemint_jax.perceive.boxes import overlaps

Frame = tuple[int, np.ndarray]
Found = list[Any]
"""Of a detection: frame, left, top, right, bottom, score, word."""
_SEEN = 0.2  # what is less sure may be seen in one of two frames alone
_OVERLAP = 0.5  # IoU of what is in both


def search_changes(
    frames: Iterable[Frame], look: Callable[[Sequence[Frame]], Iterable[Found]], together: int
) -> tuple[list[Found], list[int]]:
    """What is found in frames, and which of them were searched; the first and the last one are.

    Args:
        frames: in order. A few times `together` are held.
        look: finds things in frames.
        together: frames that it is given at once.
    """
    found: dict[int, list[Found]] = {}
    order: list[int] = []
    firsts: list[Frame] = []
    between: list[Frame] = []
    doubtful: list[Frame] = []

    def search(some: Sequence[Frame]) -> None:
        found.update({number: [] for number, _ in some})
        for one in look(some):
            found[one[0]].append(one)

    def settle() -> None:
        search(firsts)
        firsts.clear()
        after = dict(zip(order, order[1:], strict=False))
        before = dict(zip(order[1:], order, strict=False))
        while between and after.get(between[0][0]) in found:
            frame = between.pop(0)
            if not show_the_same(found[before[frame[0]]], found[after[frame[0]]]):
                doubtful.append(frame)
        while len(doubtful) >= together:
            search(doubtful[:together])
            del doubtful[:together]

    for place, frame in enumerate(frames):
        order.append(frame[0])
        (between if place % 2 else firsts).append(frame)
        if len(firsts) == together:
            settle()
    settle()
    search(doubtful + between)  # the last frame has nothing behind it
    return [one for number in sorted(found) for one in found[number]], sorted(found)


def show_the_same(before: Sequence[Found], after: Sequence[Found]) -> bool:
    """Whether what is seen in one of two frames is seen in the other one, at nearly one place."""
    return _all_in(before, after) and _all_in(after, before)


def _all_in(found: Sequence[Found], others: Sequence[Found]) -> bool:
    return all(
        any(one[6] == other[6] and _overlap(one, other) >= _OVERLAP for other in others)
        for one in found
        if one[5] >= _SEEN
    )


def _overlap(one: Found, other: Found) -> float:
    boxes = (np.array([some[1:5]], np.float32) for some in (one, other))
    return float(overlaps(*boxes)[0, 0])
