"""Benchmarks of others, read and written; boards as what other systems are asked with.

Each format is a module. Its docstring says what the format is, what of a board it holds, and what
of it was not to be seen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media
from alchemint_jax.errors import AlchemintError, ConfigError, DataError, StoryboardError, listed
from alchemint_jax.evaluate.boards.board import read_boards
from alchemint_jax.evaluate.boards.draft import Draft, Role
from alchemint_jax.evaluate.boards.formats.common import Notes, Options
from alchemint_jax.evaluate.boards.pictures import PictureSource, Wanted
from alchemint_jax.evaluate.boards.writing import Made, is_there, known, signature, write_set
from alchemint_jax.scene.storyboard import Storyboard

IMPORTS = {
    "annotated": "annotated",
    "entitybench": "entitybench",
    "tempocontrol": "tempocontrol",
    "tgi-bench": "tgi_bench",
    "tie": "tie",
}
"""The formats that are read, and the module of each: its `read` gives drafts."""

EXPORTS = {
    "entitybench": "entitybench",
    "kling": "kling",
    "ltx-director": "ltx_director",
    "minimax-h3": "minimax_h3",
    "prompt-relay": "prompt_relay",
    "prompt-relay-wan": "prompt_relay_wan",
    "tempocontrol": "tempocontrol",
    "text": "plain_text",
    "tgi-bench": "tgi_bench",
    "tie": "tie",
}
"""The formats that are written, and the module of each: its `write` takes boards."""


@dataclass(frozen=True)
class Exported:
    """What was written for another system.

    Attributes:
        folder: where.
        boards: how many of them are there.
        left_out: those that are not, with the reason.
        remarks: those that were changed, and how.
    """

    folder: Path
    boards: int
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def import_boards(
    source: str | Path,
    name: str,
    out: str | Path,
    options: Options | None = None,
    pictures: PictureSource | None = None,
    limit: int | None = None,
    seed: int = 0,
    made_of: Mapping[str, Any] | None = None,
) -> Made:
    """Makes a set of a benchmark of others.

    Boards that make no sense are left out, and benchmark.json says why.

    Args:
        source: its file or folder.
        name: its format, a key of `IMPORTS`.
        out: a new folder.
        options: what the format leaves open.
        pictures: who has pictures of subjects that come without; None leaves them without.
        limit: the first so many boards; None is all of them.
        seed: which of several pictures is taken.
        made_of: what else tells this set from others. JSON.

    Returns:
        What came of it.

    Raises:
        DataError: the source cannot be read, no board is left, or something else is at `out`.
        ConfigError: an option is none of this format.
    """
    options = options or Options()
    module = _module(IMPORTS, name, options, "READS")
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    identity = {
        "made_by": name,
        "source": [source.name, signature(source)],
        "options": dataclasses.asdict(options),
        "limit": limit,
        "seed": seed,
        **(made_of or {}),
    }
    if is_there(out, identity):
        return known(out)
    notes, ids = Notes(), set[str]()

    def drafts() -> Iterator[Draft]:
        for draft in module.read(source, options, notes):
            draft = dataclasses.replace(draft, id=_free(draft.id, ids))
            line = draft.line()
            del line["id"]
            try:
                Storyboard.from_dict(line, source=draft.id, pictures=False)
            except StoryboardError as error:
                notes.left_out.append(str(error))
                continue
            ids.add(draft.id.casefold())
            yield draft if pictures is None else _pictured(draft, pictures, seed, notes)

    said = {"left_out": notes.left_out, "remarks": notes.remarks}
    try:
        path = write_set(out, itertools.islice(drafts(), limit), identity, said)
    except DataError as error:
        lost = "; ".join(listed(notes.left_out))
        raise DataError(f"{error} ({lost})" if lost else str(error)) from error
    return Made(path, len(ids), tuple(notes.left_out), tuple(notes.remarks))


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken."""
    several = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], several) if one.casefold() not in taken)


def _pictured(draft: Draft, pictures: PictureSource, seed: int, notes: Notes) -> Draft:
    """The draft with pictures for those of its roles that have none."""
    sign = hashlib.sha256(draft.id.encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(sign[:8], "big")])
    roles: list[Role] = []
    taken: set[str] = set()
    for role in draft.roles:
        if role.picture is None:
            try:
                found = pictures.find(Wanted(role.word, role.looks), rng, taken)
                problem = "" if found is not None else "there is none of that name"
            except AlchemintError as error:
                found, problem = None, str(error)
            if problem:
                notes.remarks.append(f"{draft.id}: {role.word!r} has no picture: {problem}")
            role = dataclasses.replace(role, picture=found)
        roles.append(role)
    return dataclasses.replace(draft, roles=tuple(roles))


def export_boards(
    path: str | Path, name: str, out: str | Path, options: Options | None = None
) -> Exported:
    """Writes the boards of a file as another system takes them, into a folder of its own.

    The folder appears when it is whole.

    Args:
        path: the file of the boards.
        name: the format, a key of `EXPORTS`.
        out: a new folder.
        options: what the format leaves open.

    Returns:
        What was written.

    Raises:
        DataError: the boards cannot be read, none of them fits, or there is something at `out`.
        ConfigError: an option is none of this format.
    """
    options = options or Options()
    module = _module(EXPORTS, name, options, "WRITES")
    boards, problems = read_boards(path)
    if problems:
        raise DataError("; ".join(listed(problems)))
    folder = media.check_folder(out)
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder}: is not empty; give a new folder")
    notes = Notes()
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    try:
        partial.mkdir(parents=True)
        for file, content in module.write(boards, options, notes):
            target = partial / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content.encode() if isinstance(content, str) else content)
        left = len(boards) - len(notes.left_out)
        if not left:
            raise DataError(f"{name}: no board fits: {'; '.join(listed(notes.left_out))}")
        if folder.is_dir():
            folder.rmdir()
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(folder, left, tuple(notes.left_out), tuple(notes.remarks))


def _module(names: Mapping[str, str], name: str, options: Options, knows: str) -> Any:
    """The module of a format, if it knows the options that are given."""
    if name not in names:
        raise ConfigError(f"{name}: no such format; known: {', '.join(names)}")
    module = importlib.import_module(f"{__name__}.{names[name]}")
    for option, value in dataclasses.asdict(options).items():
        if value is not None and option not in getattr(module, knows):
            flag = option.replace("_", "-")
            raise ConfigError(f"--{flag}: says nothing to the format {name}")
    return module
