"""A progress bar on a terminal, plain lines in a log.

with Progress(total=40, label="sampling") as progress:
    for step in range(40):
        ...
        progress.update(step + 1, loss=0.12)
"""

from __future__ import annotations

import sys
import time
from typing import Any

_BAR = 24


class Progress:
    """Reports how far a loop is, its speed and the time left, on standard error.

    On a terminal one line is redrawn, at most ten times a second; elsewhere a line is written
    at most every ``interval`` seconds, and one at the end. Nothing is written by process >= 1
    if ``quiet`` is set there.

    Args:
        total: number of steps.
        label: what is being counted.
        start: steps already done when the loop began (a resumed run); they do not count as fast.
        interval: seconds between the lines of a log.
    """

    def __init__(
        self,
        total: int,
        label: str,
        start: int = 0,
        *,
        stream: Any = None,
        interval: float | int = 30.0,
        quiet: bool = False,
    ) -> None:
        self.total = total
        self.label = label
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval = 0.1 if self._terminal else interval
        self._quiet = quiet
        self._start = self._step = start
        self._began = time.monotonic()
        self._written_at = -float("inf")
        self._written_step = -1
        self._width = 0
        self._figures: dict[str, float | int | str] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._written_step != self._step:
            self._write()
        if self._terminal and not self._quiet and self._width:
            self._stream.write("\n")
            self._stream.flush()

    def update(self, step: int, **figures: float | int | str) -> None:
        """Says that ``step`` steps are done; figures are kept until given again."""
        self._step = step
        self._figures.update(figures)
        now = time.monotonic()
        if now - self._written_at >= self._interval or step >= self.total:
            self._write()

    def say(self, text: str) -> None:
        """Writes a line of its own."""
        if not self._quiet:
            begin = "\r" if self._terminal else ""
            self._stream.write(f"{begin}{self.label}: {text}".ljust(self._width) + "\n")
            self._stream.flush()

    def line(self) -> str:
        """What would be written now."""
        elapsed = time.monotonic() - self._began
        done = self._step - self._start
        parts = [f"{self._step}/{self.total}"]
        if done > 0 and elapsed > 0:
            rate = done / elapsed
            parts.append(f"{rate:.3g} steps/s" if rate >= 0.1 else f"{1 / rate:.3g} s/step")
            parts.append(f"{duration((self.total - self._step) / rate)} left")
        parts += [
            f"{k} {v:.4g}" if isinstance(v, (int, float)) else f"{k} {v}"
            for k, v in self._figures.items()
        ]
        text = "  ".join(parts)
        if not self._terminal:
            return f"{self.label}: {text}"
        filled = round(_BAR * min(1.0, self._step / max(1, self.total)))
        return f"{self.label} [{'#' * filled}{'.' * (_BAR - filled)}] {text}"

    def _write(self) -> None:
        if self._quiet:
            return
        text = self.line()
        if self._terminal:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
        self._written_at = time.monotonic()
        self._written_step = self._step


def duration(seconds: float | int) -> str:
    """Seconds as ``42s``, ``3m05s`` or ``2h07m``."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
