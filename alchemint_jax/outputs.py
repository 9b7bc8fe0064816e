"""No command writes over what it reads, nor twice into one file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

from alchemint_jax import places
from alchemint_jax.errors import AlchemintError

Named = Iterable[tuple[str, str | os.PathLike[str] | None]]
"""Paths by what the user calls them, such as ``("--out", "video.mp4")``; None is not given."""


def check_outputs(outputs: Named, inputs: Named = ()) -> None:
    """Refuse files to write that are one file, are read too, or lie in a folder that is read.

    Two paths are of one file also through links, ``..``, or a name that differs from the other in
    case alone or in how Unicode writes it, which many disks do not tell apart.

    Raises:
        AlchemintError: naming both.
    """
    written = [(name, places.place(path)) for name, path in outputs if path is not None]
    read = [(name, places.place(path)) for name, path in inputs if path is not None]
    for (name, path), (other, second) in combinations(written, 2):
        if _folded(path) == _folded(second) or _same(path, second):
            raise AlchemintError(
                f"{name} {path} and {other} {second} are the same; give two different names"
            )
    for name, path in written:
        remote = places.is_address(path)
        real = path if remote else Path(os.path.realpath(path))
        for other, source in read:
            if places.is_address(source) != remote:
                continue
            if _same(path, source):
                raise AlchemintError(
                    f"{name} {path} would overwrite {other} {source}; choose another name"
                )
            if (remote or source.is_dir()) and any(
                _same(folder, source) for folder in real.parents
            ):
                raise AlchemintError(
                    f"{name} {path} lies inside {other} {source}, which is read; "
                    "choose another folder"
                )


@contextlib.contextmanager
def alone(folder: Path, named: str | os.PathLike[str]) -> Iterator[None]:
    """No two runs write into one folder, which errors call `named`.

    Raises:
        AlchemintError: another run does.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlchemintError(f"{named}: another run is writing into it") from None
        yield


# What a file is called until it is whole: by chance, or by its name and a process; a folder of
# weights by its name and `tempfile`.
_HALF = re.compile(r"\.([0-9a-f]{12}|[0-9a-f]{16}|.+\.(\d+|[a-z0-9_]{8}))\.tmp")


def remove_halves(*folders: Path) -> None:
    """Removes what a killed run was writing, files and folders of weights, and nothing of others.

    For folders, as far as they are there, that nobody else writes into at this moment.
    """
    for folder in folders:
        for half in folder.glob(".*.tmp"):
            if not _HALF.fullmatch(half.name):
                continue
            if half.is_dir() and not half.is_symlink():
                shutil.rmtree(half, ignore_errors=True)
            else:
                half.unlink(missing_ok=True)


def _same(one: places.Place, two: places.Place) -> bool:
    if places.is_address(one) or places.is_address(two):
        return os.fspath(one) == os.fspath(two)
    if os.path.realpath(one) == os.path.realpath(two):
        return True
    try:
        return os.path.samefile(one, two)
    except OSError:  # one of them is not there
        return False


def _folded(path: places.Place) -> str:
    if places.is_address(path):
        return os.fspath(path)
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()
