"""Where things are kept between runs, if there is a place for them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_ROOM = 4096  # bytes: a block, without which an empty file may still be made on a full disk


def cache_root() -> Path | None:
    """`$XDG_CACHE_HOME/alchemint_jax`, below `~/.cache` where the variable is not set.

    None where there is no home directory: a user without an entry in the password database, as
    containers are often run by.
    """
    # A relative one is to be ignored, says the XDG base directory specification.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = base if base.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "alchemint_jax"


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
