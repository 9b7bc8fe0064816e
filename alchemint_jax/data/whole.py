"""Folders that appear only when they are whole, and whose writing goes on where it was stopped.

While it is written, a folder has another name beside its own, and `plan.json` in it says what it is
to be. What is there of it already, in files that are whole, is not made again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alchemint_jax import places
from alchemint_jax.data import records
from alchemint_jax.errors import DataError

_PLAN = "plan.json"


def begin(out: Path, wanted: Mapping[str, Any], mark: str) -> Path | None:
    """Where to write what is to be the folder `out`; None if `out` is there, and is this very one.

    Args:
        out: the folder.
        wanted: what tells it from others. It is among what `finish` writes into it.
        mark: the name of the file in which it then is.

    Raises:
        DataError: there is something else, or what was begun there was another one.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _check_same(out, wanted, mark)
        return None
    partial = out.parent / f".{out.name}.partial"
    if (partial / mark).is_file() and not (partial / _PLAN).exists():  # only the name was missing
        _check_same(partial, wanted, mark)
        _name(partial, out)
        return None
    if partial.exists() and [path for path in partial.iterdir() if path.name[0] != "."]:
        _check_same(partial, wanted, _PLAN)
    else:
        partial.mkdir(parents=True, exist_ok=True)
        records.write_json(partial / _PLAN, wanted)
    return partial


def finish(partial: Path, out: Path, content: Mapping[str, Any], mark: str) -> None:
    """Gives a folder that is whole its name, and a file named `mark` that says what it is."""
    records.write_json(partial / mark, content)
    (partial / _PLAN).unlink()
    _name(partial, out)


def read_card(
    data_dir: Path | str, mark: str, kind: str, schema: int, what: str, command: str
) -> dict[str, Any]:
    """What `finish` has written, with its `kind` and `schema`.

    Args:
        data_dir: the folder.
        mark: the name of the file.
        kind: of folder, as the file names it.
        schema: of its content.
        what: this kind is called.
        command: makes one.

    Raises:
        DataError: there is no such folder.
    """
    folder = places.place(data_dir)
    if places.absent(folder, [mark]):
        raise DataError(
            f"{data_dir}: is not a finished {what} ({mark} is missing); make one with `{command}`"
        )
    card = records.read_json(folder / mark)
    if card.get("kind") != kind or card.get("schema") != schema:
        raise DataError(f"{folder / mark}: is not a {what} of schema {schema}")
    return card


def _name(partial: Path, out: Path) -> None:
    if out.exists():
        out.rmdir()  # an empty directory made by the caller
    os.replace(partial, out)


def _check_same(directory: Path, wanted: Mapping[str, Any], mark: str) -> None:
    """Raises DataError unless the mark in `directory` says what is wanted."""
    if not (directory / mark).is_file():
        raise DataError(f"{directory}: holds something else; choose another directory or remove it")
    found = records.read_json(directory / mark)
    if different := _differences(wanted, found):
        raise DataError(
            f"{directory}: was made with another {' and '.join(different)}; "
            "choose another directory or remove it"
        )


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The names of fields that differ; of fields that have fields themselves, of those."""
    names = []
    for name in sorted(key for key in wanted if found.get(key) != wanted[key]):
        here, there = wanted[name], found.get(name)
        inner: list[str] = []
        if isinstance(here, dict) and isinstance(there, dict):
            inner = _differences(here, there)
        names += inner or [name]
    return names
