"""Loose values of a storyboard file become checked ones, or an error that says where and what."""

from __future__ import annotations

import difflib
import math
import numbers
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from alchemint_jax.documents import FieldPath, describe, show
from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.spans import Spans

Real = float | int

MAX_TEXT = 10_000
MAX_ITEMS = 64
"""Bounds on what is worth reading at all."""
_ANY_TIME = 1e6  # seconds; catches NaN and infinity with one rule


@dataclass(frozen=True)
class Check:
    """Turns loose values into checked ones, or fails naming the file, the field and the line."""

    source: str
    lines: dict[FieldPath, int]

    def fail(self, path: FieldPath, problem: str) -> NoReturn:
        """Raises the StoryboardError of a field; all others here do so, too."""
        field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
        known = (self.lines.get(path[:n]) for n in range(len(path), 0, -1))
        line = next((n for n in known if n), None)
        where = f" (line {line})" if line else ""
        raise StoryboardError(": ".join(filter(None, [self.source, field, problem])) + where)

    def mapping(
        self, value: Any, path: FieldPath, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """The fields of a mapping that has these and no others; None where one is absent."""
        names = (*required, *optional)
        if not isinstance(value, Mapping):
            self.fail(path, f"expected {', '.join(names)}, got {describe(value)}")
        for key in value:
            if key not in names:
                name = key[:50] if isinstance(key, str) else show(key)
                near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                self.fail((*path, name), f"unknown field; {hint}")
        for name in required:
            if value.get(name) is None:
                self.fail((*path, name), "is missing or empty")
        return {name: value.get(name) for name in names}  # an optional null is as good as absent

    def items(self, value: Any, path: FieldPath, what: str) -> list[Any]:
        """A list, which `what` describes."""
        if not isinstance(value, (list, tuple)):
            self.fail(path, f"expected {what}, got {describe(value)}")
        if len(value) > MAX_ITEMS:
            self.fail(path, f"has {len(value)} entries; {MAX_ITEMS} are the most")
        return list(value)

    def text(self, value: Any, path: FieldPath, longest: int, empty: bool = False) -> str:
        """Text without the space around it."""
        if not isinstance(value, str):
            quote = "" if isinstance(value, (Mapping, list, tuple)) else "; put it in quotes"
            self.fail(path, f"expected text, got {describe(value)}{quote}")
        text = value.strip()
        if not text and not empty:
            self.fail(path, "is empty")
        if len(text) > longest:
            self.fail(path, f"is {len(text)} characters long; {longest} are the most")
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.fail(path, "holds half a character (a lone surrogate)")
        return text

    def number(self, value: Any, path: FieldPath, low: Real, high: Real) -> float:
        """A number between two others, both included."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            self.fail(path, f"expected a number, got {describe(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not low <= number <= high:  # NaN fails too
            self.fail(path, f"must be between {low:.10g} and {high:.10g}, not {number!r}")
        return number

    def integer(self, value: Any, path: FieldPath, low: int, high: int) -> int:
        """A whole number between two others, both included."""
        number = self.number(value, path, low, high)
        if number != int(number):
            self.fail(path, f"must be a whole number, not {number!r}")
        return int(number)

    def interval(self, value: Any, path: FieldPath, duration: Real) -> tuple[Real, Real]:
        """[start, end) in seconds, inside of the video."""
        pair = self.items(value, path, "[start, end] in seconds")
        if len(pair) != 2:
            self.fail(path, f"expected [start, end] in seconds, got {len(pair)} values")
        start, end = (self.number(v, (*path, i), -_ANY_TIME, _ANY_TIME) for i, v in enumerate(pair))
        if start < 0:
            self.fail(path, f"starts ({start}) before the video does; the earliest is 0")
        if end < start:
            self.fail(path, f"ends ({end}) before it starts ({start})")
        if end == start:
            self.fail(path, f"is empty: it starts and ends at {start}")
        if end > duration + 1e-6:
            self.fail(path, f"ends ({end}) after the video does; its duration is {duration}")
        return start, min(end, duration)

    def appears(self, value: Any, path: FieldPath, duration: Real) -> Spans:
        """Intervals in seconds, which do not overlap."""
        rows = self.items(value, path, "a list of [start, end] in seconds")
        if not rows:
            self.fail(path, "is empty; say when the subject is on screen, such as [[0.5, 2.0]]")
        if not any(isinstance(row, (list, tuple)) for row in rows):
            self.fail(path, "is a list of intervals; write [[start, end]] with two brackets")
        spans = [self.interval(row, (*path, i), duration) for i, row in enumerate(rows)]
        order = sorted(range(len(spans)), key=lambda i: spans[i])
        for before, i in zip(order, order[1:], strict=False):
            if spans[i][0] < spans[before][1]:
                self.fail(
                    (*path, i),
                    f"{list(spans[i])} overlaps {list(spans[before])} of the same subject; "
                    "join them or set them apart",
                )
        return Spans(spans)

    def image(self, value: Any, path: FieldPath, base: Path) -> Path:
        """Where a picture is that is named relative to `base`; nobody has looked there."""
        name = value if isinstance(value, os.PathLike) else self.text(value, path, MAX_TEXT)
        try:
            found = base / Path(name).expanduser()
        except RuntimeError as error:  # ~nobody
            self.fail(path, f"{show(name)}: {error}")
        # What two systems call by one name may be two names to a disk.
        forms = (unicodedata.normalize(form, os.fspath(found)) for form in ("NFC", "NFD"))
        return next((p for p in (found, *map(Path, forms)) if _exists(p)), found)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no path that can be
        return False
