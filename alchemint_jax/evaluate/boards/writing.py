"""A set on disk: whole or not at all, and never in the place of something else."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alchemint_jax import media
from alchemint_jax.data import records, whole
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.boards.board import FILE, name_of, read_boards
from alchemint_jax.evaluate.boards.draft import Draft, Picture

MARK = "benchmark.json"
_PICTURES = "pictures"
_LARGEST = 64 * 2**20  # bytes of a picture that is copied


@dataclass(frozen=True)
class Made:
    """What came of a set.

    Attributes:
        path: the file of the boards.
        boards: how many there are.
        left_out: what could have been in it, and is not, with the reason.
        remarks: what went otherwise than asked for.
    """

    path: Path
    boards: int
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def is_there(out: str | Path, made: Mapping[str, Any]) -> bool:
    """Whether this very set is at `out` already.

    Raises:
        DataError: something else is.
    """
    out = media.check_folder(out)
    there = out.is_dir() and any(out.iterdir())
    return there and whole.begin(out, made, MARK) is None


def signature(place: str | Path) -> str:
    """SHA-256 of a file or folder: of names and sizes, and of what tables and lines say."""
    place = Path(place)
    found = hashlib.sha256()
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        if path.is_file():
            name = path.name if path == place else path.relative_to(place).as_posix()
            found.update(f"{name}\t{path.stat().st_size}\n".encode())
            if path.suffix in (".csv", ".json", ".jsonl") or path == place:
                with path.open("rb") as file:
                    found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def known(out: str | Path) -> Made:
    """What benchmark.json says of a set that is there."""
    said = records.read_json(Path(out) / MARK)
    left_out, remarks = said.get("left_out", ()), said.get("remarks", ())
    return Made(Path(out) / FILE, said["boards"], tuple(left_out), tuple(remarks))


def write_set(
    out: str | Path,
    drafts: Iterable[Draft],
    made: Mapping[str, Any],
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Writes boards.jsonl, pictures/ and benchmark.json into a folder, which appears when whole.

    One draft is held at a time. A picture that several boards share is one file. What is written is
    read again before the folder gets its name; if anything goes wrong, nothing is left.

    Args:
        out: a new folder. If this very set is there, nothing is done.
        drafts: the boards.
        made: what tells this set from others: how it was made. JSON.
        notes: what else benchmark.json is to say, once all drafts were taken.

    Returns:
        The file of the boards.

    Raises:
        DataError: there are no boards, one of them makes no sense, or something else is at `out`.
    """
    out = media.check_folder(out)
    _forget(out)
    partial = whole.begin(out, made, MARK)
    if partial is None:
        return out / FILE
    try:
        (partial / _PICTURES).mkdir(exist_ok=True)
        count = 0
        with (partial / FILE).open("w", encoding="utf-8") as file:
            for draft in drafts:
                line = draft.line(lambda picture, name: _write(picture, name, partial))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                count += 1
        if not count:
            raise DataError(f"{out}: there are no boards to write")
        _, problems = read_boards(partial / FILE)
        if problems:
            raise DataError(problems[0].replace(f"{partial}", f"{out}"))
        if not any((partial / _PICTURES).iterdir()):
            (partial / _PICTURES).rmdir()
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    whole.finish(partial, out, {**made, **(notes or {}), "boards": count}, MARK)
    return out / FILE


def _forget(out: Path) -> None:
    """Removes what a set that was killed has left: there is nothing in it that cost anything."""
    stale = out.parent / f".{out.name}.partial"
    plan = stale / "plan.json"
    if plan.is_file() and "made_by" in records.read_json(plan):
        shutil.rmtree(stale, ignore_errors=True)


def _write(picture: Picture, name: str, folder: Path) -> str:
    """Its name below `folder`, where it lies then."""
    if isinstance(picture, Path):
        try:
            if picture.stat().st_size > _LARGEST:
                raise DataError(f"{picture}: is larger than {_LARGEST >> 20} MiB")
            data, suffix = picture.read_bytes(), picture.suffix.lower()
        except OSError as error:
            raise DataError(f"{picture}: {error.strerror or error}") from error
    else:
        data, suffix = png(picture), ".png"
    sign = hashlib.sha256(data).hexdigest()[:10]
    path = folder / _PICTURES / f"{name_of(name)}-{sign}{suffix}"
    if not path.exists():
        path.write_bytes(data)
    return f"{_PICTURES}/{path.name}"


def png(picture: np.ndarray, small: bool = True) -> bytes:
    """Pixels as the bytes of a PNG; to make it small takes time."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=small)
    return buffer.getvalue()
