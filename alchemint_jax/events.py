"""Events of a clip as rows: what is said of every moment, padded to a fixed number.

ReRoPE, which times dense captions, knows events that follow one another without a gap (MinT,
section 3): a frame turns to the caption that is nearest in warped time, and in a gap that would be
one of another moment. So the time of which nothing is said has rows of its own here, with an empty
text, and frames in a gap have something to turn to that asks for nothing. A clip without events is
one such row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from alchemint_jax.timebase import merge_intervals

FrameEvent = tuple[str, tuple[int, int]]
"""A text, and the pixel frames [start, end) that it is about."""


def with_gaps(events: Sequence[FrameEvent], n_frames: int) -> list[FrameEvent]:
    """The events of a clip and, with empty texts, the gaps between them, in order of time.

    Events that start together stay in the order given.
    """
    said = merge_intervals(span for _, span in events)
    edges = [0, *(frame for span in said for frame in span), n_frames]
    gaps = [("", (s, e)) for s, e in zip(edges[::2], edges[1::2], strict=True) if e > s]
    return sorted([*events, *gaps], key=lambda event: event[1][0])


def rows_for(n_events: int) -> int:
    """The most rows that `with_gaps` makes of so many events."""
    return 2 * n_events + 1


def pad_events(
    events: Sequence[FrameEvent], n_frames: int, rows: int
) -> tuple[list[str], Int32[np.ndarray, "e 2"]]:
    """Texts and pixel frames of all rows; those that are not used have no text and are (0, 0).

    Raises:
        ValueError: there are not so many rows.
    """
    found = with_gaps(events, n_frames)
    if len(found) > rows:
        raise ValueError(f"{len(found)} rows of events, not {rows}")
    texts, frames = [""] * rows, np.zeros((rows, 2), np.int32)
    for i, (text, span) in enumerate(found):
        texts[i], frames[i] = text, span
    return texts, frames
