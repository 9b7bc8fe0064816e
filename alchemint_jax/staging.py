"""Models and datasets of a bucket, brought to this machine once and checked.

Weights are read through memory maps, and records at random: both want files. What was brought is
kept in the user's cache, one folder for each address, and only what has changed is brought again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alchemint_jax import places
from alchemint_jax.caches import cache_root
from alchemint_jax.errors import AlchemintError
from alchemint_jax.progress import Progress

_MB = 10**6
_SPARE = 10**9  # bytes that stay free on the disk


def staged(address: str | os.PathLike[str]) -> Path:
    """A local copy of a folder in a bucket.

    Each file is complete, has the size that the bucket says, and, where the folder was written by
    us, its SHA-256. Processes of one machine wait for each other, and the first one fetches.

    Args:
        address: such as "gs://bucket/path". A local path is returned as it is.

    Raises:
        AlchemintError: the bucket cannot be read, the folder is missing or not whole, or there is
            no room for it.
    """
    where = places.place(address)
    if not places.is_address(where):
        return Path(where)
    places.check(where)
    root = cache_root()
    if root is None:
        raise AlchemintError(f"{where}: this user has no home directory; set XDG_CACHE_HOME")
    key = hashlib.sha256(os.fspath(where).encode()).hexdigest()[:16]
    folder = root / "buckets" / key / where.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent / "lock"), places.reaching(where):
            _bring(where, folder, folder.parent / "fetched.json")
    except OSError as error:
        raise AlchemintError(
            f"{where}: cannot be copied to {folder}: {error.strerror or error}; set XDG_CACHE_HOME "
            "to another disk"
        ) from error
    return folder


def _bring(where: places.Place, folder: Path, record: Path) -> None:
    fs = places.files_of(where)
    start = fs._strip_protocol(os.fspath(where)).rstrip("/") + "/"
    found = {
        name.removeprefix(start): about
        for name, about in fs.find(start, detail=True).items()
        if name.startswith(start) and about["type"] == "file"
    }
    listed = (places.read_mark(where) or {}) if places.MARK in found else {}
    found.pop(places.MARK, None)
    if not found:
        raise AlchemintError(f"{where}: there is nothing of that name in the bucket")
    for name, about in listed.items():
        if name not in found or found[name]["size"] != about["size"]:
            raise AlchemintError(
                f"{where}: is not whole: {name} is missing or cut short; write it again"
            )
    if strange := [name for name in found if ".." in name.split("/") or name.startswith("/")]:
        raise AlchemintError(f"{where}: holds {strange[0]!r}, which is no name of a file")
    # Of Google, of Amazon.
    tags = {
        name: [about["size"], str(about.get("generation") or about.get("ETag"))]
        for name, about in found.items()
    }
    here = json.loads(record.read_text()) if record.exists() else {}
    todo = [name for name in sorted(tags) if here.get(name) != tags[name]]
    _check_room(where, folder, sum(tags[name][0] for name in todo))
    for name in set(here) - set(tags):
        (folder / name).unlink(missing_ok=True)
    kept = {name: tag for name, tag in here.items() if name in tags}
    sizes = sum(tags[name][0] for name in todo)
    with Progress(1 + sizes // _MB, "fetching (MB)", quiet=not todo) as bar:
        done = 0
        for name in todo:
            _fetch(fs, start + name, folder / name, tags[name][0], listed.get(name))
            done += tags[name][0]
            kept[name] = tags[name]
            _write(record, json.dumps(kept))  # what is here stays, if this ends early
            bar.update(1 + done // _MB)


def _fetch(fs: Any, address: str, path: Path, size: int, listed: dict[str, Any] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        fs.get_file(address, os.fspath(partial))
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if partial.stat().st_size != size or (listed and digest != listed["sha256"]):
            raise AlchemintError(f"{address} arrived damaged; give the same command again")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _check_room(where: places.Place, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise AlchemintError(
            f"{where}: {needed / 1e9:.1f} GB are to be copied to {folder}, where {free / 1e9:.1f} "
            "GB are free; set XDG_CACHE_HOME to a larger disk, or mount the bucket (gcsfuse, "
            "mountpoint-s3) and give the path it is mounted at"
        )


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
