"""Scenes as padded arrays. Nothing else pads, and nothing else decides which slots are used.

A model has a fixed number of slots for subjects, and arrays have a fixed number of rows. A slot is
used where a subject sits in it that is on screen at some time; one that is never there asks for
nothing, and its slot is as empty as one without a subject, in training as in generation.

ReRoPE, which times dense captions, knows events that follow one another without a gap (MinT,
section 3): a frame turns to the caption that is nearest in warped time, and in a gap that would be
one of another moment. So the time of which nothing is said has rows of its own here, with an empty
text, and frames in a gap have something to turn to that asks for nothing. A clip without events is
one such row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Shaped

from alchemint_jax.errors import DataError
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Span, Spans

MIN_ROWS = 2
"""Rows of intervals that every subject has, so that few numbers of them are compiled."""
MIN_EVENT_ROWS = 8
MIN_CUT_ROWS = 4


class Slots(NamedTuple):
    """The subjects of b scenes in r slots, of up to m spans each."""

    intervals: Int32[np.ndarray, "b r m 2"]
    """Pixel frames; rows that are not used are (0, 0)."""
    used: Bool[np.ndarray, "b r"]
    words: list[list[str]]
    """Of each slot; empty where it is not used."""
    subjects: list[list[Subject | None]]
    """Who sits in each slot; None where it is not used."""

    def fill(
        self, image: Callable[[Subject], np.ndarray], blank: np.ndarray
    ) -> Shaped[np.ndarray, "b r ..."]:
        """A picture of each slot; ``blank`` where it is not used.

        Args:
            image: gives the picture of a subject, of the shape of ``blank``.
            blank: what stands in an empty slot.
        """
        out = np.empty((*self.used.shape, *blank.shape), blank.dtype)
        out[:] = blank
        for at in zip(*np.nonzero(self.used), strict=True):
            subject = self.subjects[at[0]][at[1]]
            assert subject is not None
            out[at] = image(subject)
        return out


class EventRows(NamedTuple):
    """What is said of every moment of b clips, in e rows."""

    texts: list[list[str]]
    """Of each row; empty in gaps, and where it is not used."""
    intervals: Int32[np.ndarray, "b e 2"]
    """Pixel frames; rows that are not used are (0, 0)."""
    used: Bool[np.ndarray, "b e"]


class CutRows(NamedTuple):
    """Where b clips have cuts, in c rows."""

    at: Int32[np.ndarray, "b c"]
    """Pixel frames that begin another shot; 0 where a row is not used."""
    used: Bool[np.ndarray, "b c"]


def pack(
    scenes: Sequence[Scene],
    slots: int,
    most: int | None = None,
    places: Sequence[Sequence[int] | np.ndarray] | None = None,
) -> Slots:
    """The subjects of scenes in slots.

    Args:
        scenes: one for each row of the batch.
        slots: how many a model has.
        most: rows of intervals for each subject; None is as many as are needed, two at the least.
        places: for each scene and slot, the number of the subject that sits there (of none, if
            there are not so many); None seats them in their order.

    Raises:
        DataError: a scene has more subjects than there are slots.
    """
    seated: list[list[Subject | None]] = []
    for row, scene in enumerate(scenes):
        count = len(scene.subjects)
        if count > slots:
            raise DataError(f"{scene.id}: subjects: {count} are too many; there are {slots} slots")
        order = range(slots) if places is None else places[row]
        there = (scene.subjects[i] if i < count else None for i in order)
        seated.append([subject if subject and subject.spans else None for subject in there])
    if most is None:
        most = max([MIN_ROWS, *(len(one.spans) for row in seated for one in row if one)])
    intervals = np.zeros((len(seated), slots, most, 2), np.int32)
    for out, seats in zip(intervals, seated, strict=True):
        _write(out, [subject.spans if subject else () for subject in seats])
    return Slots(
        intervals=intervals,
        used=intervals[:, :, 0, 1] > 0,  # the first row is that of the first span
        words=[[subject.word if subject else "" for subject in row] for row in seated],
        subjects=seated,
    )


def pad_spans(spans: Sequence[Spans], slots: int, most: int) -> Int32[np.ndarray, "r m 2"]:
    """Pixel frames as rows; those that are not used are (0, 0).

    Spans beyond ``most`` are joined to the last row, which then reaches from its start to their
    end. `Spans` reads rows back.
    """
    out = np.zeros((slots, most, 2), np.int32)
    _write(out, spans)
    return out


def _write(out: Int32[np.ndarray, "r m 2"], spans: Sequence[Sequence[Span]]) -> None:
    most = out.shape[1]
    for own, rows in zip(out, spans, strict=False):
        if len(rows) > most:
            rows = [*rows[: most - 1], (rows[most - 1][0], rows[-1][1])]
        if rows:
            own[: len(rows)] = rows


def event_rows(n_events: int) -> int:
    """The most rows that so many events make, gaps included."""
    return 2 * n_events + 1


def pack_events(scenes: Sequence[Scene], rows: int | None = None) -> EventRows:
    """The events of scenes and, with empty texts, the gaps between them, in order of time.

    Events that start together stay in the order given.

    Args:
        scenes: one for each row of the batch.
        rows: how many a clip has; None is 8, 16, 32 or more, as are needed, so that few numbers
            are compiled.

    Raises:
        DataError: a scene needs more rows.
    """
    found = [_with_gaps(scene.events, int(scene.clock.frames)) for scene in scenes]
    needed = max(map(len, found), default=0)
    if rows is None:
        rows = max(MIN_EVENT_ROWS, 1 << max(needed - 1, 0).bit_length())
    elif needed > rows:
        raise DataError(f"{needed} rows of events, not {rows}")
    intervals = np.zeros((len(found), rows, 2), np.int32)
    for i, clip in enumerate(found):
        intervals[i, : len(clip)] = [span for _, span in clip]
    return EventRows(
        texts=[[text for text, _ in clip] + [""] * (rows - len(clip)) for clip in found],
        intervals=intervals,
        used=intervals[..., 1] > intervals[..., 0],
    )


def pack_cuts(scenes: Sequence[Scene], rows: int | None = None) -> CutRows:
    """The cuts of scenes, in order of time.

    Args:
        scenes: one for each row of the batch.
        rows: how many a clip has; None is 4, 8, 16 or more, as are needed.

    Raises:
        DataError: a scene has more.
    """
    most = max((len(scene.cuts) for scene in scenes), default=0)
    if rows is None:
        rows = max(MIN_CUT_ROWS, 1 << max(most - 1, 0).bit_length())
    elif most > rows:
        raise DataError(f"{most} cuts, not {rows}")
    at = np.zeros((len(scenes), rows), np.int32)
    for row, scene in zip(at, scenes, strict=True):
        row[: len(scene.cuts)] = scene.cuts
    return CutRows(at, at > 0)


def _with_gaps(events: Sequence[Event], n_frames: int) -> list[tuple[str, Span]]:
    said = [(event.text, span) for event in events for span in event.spans]
    gaps = [("", span) for span in Spans(span for _, span in said).gaps(n_frames)]
    return sorted([*said, *gaps], key=lambda row: row[1][0])
