"""Spans of time: sorted, disjoint, half-open pairs, in pixel frames or in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool

Span = tuple[Any, Any]
"""A start and an end; the end is not part of it. Integers count frames, floats count seconds."""


class Spans(tuple[Span, ...]):
    """When something is so: ``(start, end)`` pairs in order, with a gap between any two.

    A tuple, so it is compared, iterated, counted and written to JSON as one; it is falsy where
    nothing is on screen. Pairs that touch or overlap become one, and those that end before they
    start are dropped. So ``Spans(rows)`` reads padded rows too, and two that cover the same time
    are equal. Integers stay integers; entries of NumPy arrays become Python's.
    """

    __slots__ = ()

    def __new__(cls, rows: Iterable[Iterable[Any]] = ()) -> Spans:
        """The time that any of the rows covers."""
        if isinstance(rows, Spans):
            return rows
        if hasattr(rows, "tolist"):
            rows = rows.tolist()
        joined: list[Span] = []
        for start, end in sorted([(s, e) for s, e in rows if e > s]):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((start, end))
        return super().__new__(cls, joined)

    @classmethod
    def where(cls, present: Bool[np.ndarray, " f"]) -> Spans:
        """The frames in which a boolean vector is True."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(np.int8), [0]])))
        return cls(edges.reshape(-1, 2))

    def gaps(self, end: Any) -> Spans:
        """The time from 0 to ``end`` that is not covered."""
        edges = [0, *(edge for span in self for edge in span), end]
        return Spans(zip(edges[::2], edges[1::2], strict=True))
