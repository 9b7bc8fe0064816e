"""Which videos there are: a file, a folder with all that is below it, or a list of them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from alchemint_jax.annotate.rows import Row
from alchemint_jax.errors import AlchemintError
from alchemint_jax.places import local

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".ogv", ".3gp", ".gif", ".y4m"),
)
SIDECARS = (".json", ".txt")
"""Endings of files beside a video that say what it shows."""
_ENDS = 1 << 16  # bytes at each end of a file that tell it from others of its length
_FETCH = (
    "videos are read from this machine; copy them here first (gcloud storage cp --recursive, "
    "aws s3 cp --recursive)"
)


def find_sources(path: str | os.PathLike[str]) -> tuple[Path, list[Row]]:
    """The rows that annotation begins with, in order, and the folder that their paths are from.

    A list has one JSON object on each line: `path`, relative to the list, and if wanted `id`,
    `caption` and `events` ({"text", "during": [start, end] in seconds}).

    Raises:
        AlchemintError: there is nothing to annotate, or the list makes no sense.
    """
    path = local(path, _FETCH)
    if path.is_dir():
        found = sorted(
            one.relative_to(path).as_posix()
            for one in path.rglob("*")
            if one.suffix.lower() in SUFFIXES and one.is_file() and not _hidden(one, path)
        )
        if not found:
            raise AlchemintError(f"{path}: holds no videos ({', '.join(SUFFIXES)})")
        return path, [_source(name, {}) for name in found]
    if not path.exists():
        raise AlchemintError(f"{path}: there is no such file or folder")
    if path.suffix.lower() == ".jsonl":
        return path.parent, _read_list(path)
    return path.parent, [_source(path.name, {})]


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _source(name: str, more: dict[str, Any]) -> Row:
    return {"id": name, "source": name, **more, "status": "ok", "error": None}


def _read_list(path: Path) -> list[Row]:
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AlchemintError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise AlchemintError(f"{where}: is not JSON: {error}") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise AlchemintError(f"{where}: expected an object with a path")
        more: dict[str, Any] = {}
        if entry.get("caption") is not None:
            if not isinstance(entry["caption"], str):
                raise AlchemintError(f"{where}: caption: expected text")
            more["caption"] = entry["caption"].strip()
        if entry.get("events"):
            more["events"] = read_events(entry["events"], f"{where}: events")
        row = _source(entry["path"], more) | {"id": str(entry.get("id") or entry["path"])}
        if row["id"] in seen:
            raise AlchemintError(f"{where}: the id {row['id']!r} is that of line {seen[row['id']]}")
        seen[row["id"]] = number
        rows.append(row)
    if not rows:
        raise AlchemintError(f"{path}: lists no videos")
    return rows


def read_events(value: Any, where: str) -> list[Row]:
    """Timed captions as they are in lists and beside videos, checked.

    Raises:
        AlchemintError: they are of another form.
    """
    found = []
    for entry in value if isinstance(value, list) else [value]:
        try:
            start, end = (float(x) for x in entry["during"])
            text = entry["text"]
        except (TypeError, KeyError, ValueError):
            raise AlchemintError(
                f'{where}: expected {{"text": ..., "during": [start, end]}} in seconds'
            ) from None
        if not isinstance(text, str) or not 0 <= start < end < float("inf"):
            raise AlchemintError(f"{where}: {entry!r}"[:200] + " is no text with 0 <= start < end")
        found.append({"text": text.strip(), "during": [start, end]})
    return found


def contents(path: Path) -> str:
    """What tells a file from others, without reading all of it; empty if it is not there."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            hashed = hashlib.sha256(str(size).encode())
            hashed.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            hashed.update(file.read(_ENDS))
    except OSError:
        return ""
    return hashed.hexdigest()
