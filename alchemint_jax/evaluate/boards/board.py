"""The boards of a file: a storyboard and its id on each line, and where such files are."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax import shipped
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.scene.storyboard import Storyboard

FILE = "boards.jsonl"
FOLDER = "benchmarks"
"""Where the sets that come with the package are, in `shipped.root()`."""

_ID = re.compile(r"\w[\w.-]{0,99}")
_MOST = 64 * 2**20  # bytes of a file


@dataclass(frozen=True)
class Board:
    """A storyboard of a benchmark.

    Attributes:
        id: its name, which videos of it have as well: ID.mp4.
        storyboard: what is asked for. Subjects may be without pictures.
        where: file and line, for messages.
    """

    id: str
    storyboard: Storyboard
    where: str


def find(name: str | Path) -> Path | None:
    """The file of a benchmark: itself, that of a set's folder, or of a set of this package.

    So `everyday` is a file as well as `benchmarks/everyday/boards.jsonl` is. None where there is
    none of that name.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        return path / FILE if (path / FILE).is_file() else None
    if len(path.parts) == 1 and re.fullmatch(r"[\w-]+", str(name)):
        inside = shipped.root() / FOLDER / path / FILE
        return inside if inside.is_file() else None
    inside = shipped.find(path)
    return inside if inside.is_file() else None


def names() -> list[str]:
    """The names of the sets that come with the package."""
    return sorted(path.parent.name for path in (shipped.root() / FOLDER).glob(f"*/{FILE}"))


def read_boards(path: str | Path) -> tuple[list[Board], list[str]]:
    """The boards of a file, and what is wrong with the lines that hold none.

    Each problem names file and line. Pictures are relative to the file.

    Raises:
        DataError: the file cannot be read, or has no lines.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST:
            raise DataError(f"{path}: is larger than {_MOST >> 20} MiB; it is no set of boards")
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot read this benchmark: {reason}") from error
    found: list[Board] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_board(line, f"{path}:{number}", path.parent))
        except (DataError, StoryboardError) as error:
            problems.append(str(error))
    if not found and not problems:
        raise DataError(f"{path}: holds no storyboards; write one JSON object per line")
    seen: dict[str, str] = {}
    for board in found:
        folded = board.id.casefold()  # names of files, which many disks tell apart no further
        if folded in seen:
            problems.append(f"{board.where}: the id {board.id!r} is that of {seen[folded]} too")
        seen.setdefault(folded, board.where)
    return found, problems


def object_of(line: str, where: str) -> dict[str, Any]:
    """The JSON object on a line. Raises DataError, which begins with `where`."""
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # endless digits or brackets
        raise DataError(f"{where}: not JSON that can be read: {error}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: expected an object ({{...}}) on each line")
    return fields


def _board(line: str, where: str, base: Path) -> Board:
    fields = object_of(line, where)
    name = fields.pop("id", None)
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise DataError(
            f"{where}: id: videos are named by it, so it must be a name of letters, digits, "
            f"'_', '-' and '.', not {str(name)[:40]!r}"
        )
    board = Storyboard.from_dict(fields, base=base, source=where, pictures=False)
    if board.negative_prompt:
        raise DataError(f"{where}: negative_prompt: benchmarks are rendered without; remove it")
    if board.seed is not None:
        raise DataError(f"{where}: seed: a benchmark's noise is drawn from --seed; remove it")
    return Board(name, board, where)


def name_of(text: str, number: int | None = None) -> str:
    """A text as an id: what a name of a file cannot have becomes '-'."""
    plain = re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80] or "board"
    return plain if number is None else f"{plain}-{number:03d}"
