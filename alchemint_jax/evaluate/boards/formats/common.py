"""What formats share: their options, what they tell of boards that do not fit, and helpers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import documents, images
from alchemint_jax.annotate.words import choose, extract
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.evaluate.boards.writing import png

Real = float | int
Content = str | bytes | Path
"""What a written file holds; a path is copied."""


@dataclass(frozen=True)
class Options:
    """What a format does not say, or leaves open. None is the default of the format.

    Attributes:
        shot_seconds: how long a shot is (entitybench).
        seconds: how long a video is (tie, read).
        fps: frames per second (tgi-bench, prompt-relay-wan).
        frames: which of the lengths is read (tgi-bench).
    """

    shot_seconds: Real | None = None
    seconds: Real | None = None
    fps: Real | None = None
    frames: int | None = None


@dataclass
class Notes:
    """What happened to boards on their way.

    Attributes:
        left_out: boards that do not fit, with the reason.
        remarks: boards that were changed, and how.
    """

    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def text_of(path: Path, most: int = 64 * 2**20) -> str:
    """The text of a file. Raises DataError."""
    try:
        if path.stat().st_size > most:
            raise DataError(f"{path}: is larger than {most >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot be read: {reason}") from error


def filled_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Place and text of each line of a file that is not empty. Raises DataError."""
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line


def words_in(value: Any, where: str) -> str:
    """A text that is not empty. Raises DataError."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: expected text, got {documents.describe(value)}")
    return value.strip()


def list_in(value: Any, where: str) -> list[Any]:
    """A list. Raises DataError."""
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list, got {documents.describe(value)}")
    return value


def mapping_in(value: Any, where: str) -> dict[str, Any]:
    """A mapping. Raises DataError."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object, got {documents.describe(value)}")
    return value


def span_in(start: Any, end: Any, where: str) -> tuple[float, float]:
    """A time in seconds. Raises DataError."""
    numbers = [x for x in (start, end) if isinstance(x, (int, float)) and not isinstance(x, bool)]
    if len(numbers) != 2 or not 0 <= numbers[0] < numbers[1] < 1e6:  # NaN fails too
        raise DataError(f"{where}: [{start!s:.20}, {end!s:.20}] is no time in seconds")
    return float(numbers[0]), float(numbers[1])


def first_subject(text: str) -> str | None:
    """The first single subject that the taxonomy finds in a text.

    Of two words side by side, such as "passenger train", it is the second.
    """
    found = extract(text)
    kept = {one["word"] for one in choose(text, found, len(found))[0]}
    for i, one in enumerate(found):
        after = found[i + 1]["phrase"] if i + 1 < len(found) else None
        pair = after and re.search(rf"{re.escape(one['phrase'])}\s+{re.escape(after)}", text)
        if one["word"] in kept and not pair:
            return one["word"]
    return None


def picture_png(path: Path, least: int = 0, most: int = 1024) -> bytes:
    """A picture on white as PNG, its shorter side at least `least` pixels long.

    Raises:
        DataError: it cannot be read.
    """
    try:
        pixels = images.load_picture(path, most)
    except StoryboardError as error:
        raise DataError(str(error)) from error
    height, width = pixels.shape[:2]
    if min(height, width) < least:
        scale = least / min(height, width)
        size = (max(least, round(height * scale)), max(least, round(width * scale)))
        pixels = images.fit_references(np.ascontiguousarray(pixels), size)
    return png(pixels, small=False)
