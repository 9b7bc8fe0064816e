"""Rows: what stages hand on, dictionaries of plain values, and the shards that hold them on disk.

A row is about one scene (about one video, before shots are known) and gains fields from stage to
stage. `status` is "ok", "failed" (something went wrong: `error` says what) or "dropped" (it is not
wanted: `error` says why); the last two pass through later stages as they are.

A shard is a file of JSON lines. Its first line has the fingerprint of how it was made, and it has
its name only once it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax.scene.clock import WAN_STRIDE, Clock

Row = dict[str, Any]
Real = float | int


def clock_of(row: Row) -> Clock:
    """The time of a row's frames."""
    return Clock(row["fps"], row["frames"], WAN_STRIDE)


def failed(row: Row, reason: str) -> Row:
    """The row, and what went wrong."""
    return {**row, "status": "failed", "error": reason}


def dropped(row: Row, reason: str) -> Row:
    """The row, and why it is not wanted."""
    return {**row, "status": "dropped", "error": reason}


def usable(row: Row) -> bool:
    """Whether later stages look at it."""
    return bool(row["status"] == "ok")


def scene_id(source: str, start: int, end: int) -> str:
    """What a scene is called: the same in every run."""
    text = _line([source, start, end]).encode()
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()[:16]


def digest(value: Any) -> str:
    """SHA-256 of a plain value, in hexadecimal."""
    return hashlib.sha256(_line(value).encode()).hexdigest()


def rounded(values: Iterable[Any], digits: int = 1) -> list[float]:
    """Python's floats with so many decimals: rows are for people, too."""
    return [round(float(value), digits) for value in values]


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def write_lines(path: Path, lines: Sequence[Any]) -> None:
    """JSON lines, whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(_line(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_shard(path: Path, fingerprint: str, found: Sequence[Row]) -> None:
    """A shard, whole or not at all."""
    write_lines(path, [{"fingerprint": fingerprint, "rows": len(found)}, *found])


def read_shard(path: Path, fingerprint: str | None = None) -> list[Row] | None:
    """The rows of a shard; None if it is not there, or was made otherwise."""
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
            if fingerprint is not None and head["fingerprint"] != fingerprint:
                return None
            found = [json.loads(line) for line in file]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if len(found) == head["rows"] else None


def shards(folder: Path) -> Iterator[Path]:
    """The shards in a folder, in order."""
    yield from sorted(folder.glob("part-*.jsonl"))
