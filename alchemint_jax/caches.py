"""Where things are kept between runs, if there is a place for them."""

from __future__ import annotations

import secrets
from pathlib import Path

import platformdirs

_ROOM = 4096  # bytes: a block, without which an empty file may still be made on a full disk


def cache_root() -> Path | None:
    """The user's folder for what can be made again: on Linux `$XDG_CACHE_HOME/alchemint_jax`, below
    `~/.cache` where the variable is not set.

    None where there is no home directory: a user without an entry in the password database, as
    containers are often run by.
    """
    try:
        root = platformdirs.user_cache_path("alchemint_jax", appauthor=False)
    except RuntimeError:  # of newer versions; older ones give a path that is not absolute
        return None
    return root if root.is_absolute() else None


def can_keep(folder: Path) -> bool:
    """Whether files can be written into a folder; it is made if absent.

    Permissions alone do not tell: disks are full, or mounted to be read only.
    """
    probe = folder / f".{secrets.token_hex(6)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_ROOM))
        finally:
            probe.unlink(missing_ok=True)
    except OSError:
        return False
    return True
