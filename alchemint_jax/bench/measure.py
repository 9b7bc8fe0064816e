"""Timing: one call at a time, two sides in turn, and what the times say."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Threads of one side's library spin for a moment after its work; the other side's call must not
# share the cores with them.
PAUSE = 0.05


@dataclasses.dataclass(frozen=True)
class Side:
    """Something to time.

    Attributes:
        run: starts one call, and may return before its result is there.
        wait: returns once what `run` returned is there.
        memory: runs the function it is given to its end and says what memory that took, see
            `hardware.peak_memory`.
    """

    run: Callable[[], Any]
    wait: Callable[[Any], Any]
    memory: Callable[[Callable[[], Any]], dict[str, Any]]

    def call(self) -> None:
        """One call, with its result waited for."""
        self.wait(self.run())


def timed(side: Side, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, the wait for its result included."""
    began = clock()
    side.call()
    return clock() - began


def alternate(
    sides: Mapping[str, Side],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], Any] = time.sleep,
) -> dict[str, list[float]]:
    """Seconds of `repeats` calls of each side, in turn: what slows a machine slows all of them.

    Args:
        sides: by name.
        repeats: calls of each.
        clock: seconds from any start.
        pause: waits for so many seconds; called before each call.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            pause(PAUSE)
            times[name].append(timed(side, clock))
    return times


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles, extremes and all of some numbers."""
    low, high = np.percentile(values, [25, 75])
    return {
        "median": statistics.median(values),
        "quartiles": [float(low), float(high)],
        "least": min(values),
        "most": max(values),
        "all": list(values),
    }


def compare(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """How long ours takes in units of theirs: below 1 is faster.

    Args:
        ours: seconds of each call.
        theirs: seconds of each call, in the same turns.

    Returns:
        `ratio`, of the medians; and `pairs`, a summary of the ratios turn by turn, which a
        machine that grows slower or faster meanwhile does not change.
    """
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ours) / statistics.median(theirs)
    return {"ratio": ratio, "pairs": summary(pairs)}
