"""Which bucket each step trains on, and which of its examples: a function of seed and step alone.

Steps come in rounds. In a round each bucket has as many batches as it fills, at least one, and
each round draws an order of its own. So all processes know what comes next without asking one
another, and so does a run that goes on at any step.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from alchemint_jax.data.buckets import generator


@dataclass(frozen=True)
class Schedule:
    """The order of buckets.

    Attributes:
        sizes: examples of each bucket.
        batch: examples of a step, of all processes.
        seed: of the order.
    """

    sizes: tuple[int, ...]
    batch: int
    seed: int

    @property
    def shares(self) -> tuple[int, ...]:
        """Steps of each bucket in a round; none of one that is empty."""
        return tuple(max(1, round(size / self.batch)) if size else 0 for size in self.sizes)

    def place(self, example: int) -> tuple[int, int]:
        """Of an example of the whole stream: its bucket, and its number in that one's stream."""
        step, row = divmod(example, self.batch)
        shares = self.shares
        turn, position = divmod(step, sum(shares))
        order, before = _round(shares, self.seed, turn)
        bucket = int(order[position])
        return bucket, (turn * shares[bucket] + int(before[position])) * self.batch + row


@functools.lru_cache(maxsize=4)
def _round(shares: tuple[int, ...], seed: int, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """The buckets of a round's steps, and how often each has come before in it."""
    order = np.repeat(np.arange(len(shares)), shares)
    order = generator(seed, turn, "buckets").permutation(order)
    before = np.zeros(len(order), int)
    for bucket in range(len(shares)):
        there = order == bucket
        before[there] = np.arange(there.sum())
    return order, before


class Mixed(grain.MapDataset):
    """Endless streams of examples as one, all examples of a step from the same."""

    def __init__(self, streams: list[grain.MapDataset], schedule: Schedule) -> None:
        super().__init__(streams)
        self._schedule = schedule

    def __len__(self) -> int:
        return min(map(len, self.parents))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        bucket, number = self._schedule.place(index)
        return self.parents[bucket][number]

    def __str__(self) -> str:
        return f"{self._schedule}"
