"""The folder that the studio keeps everything in, as files that are whole or absent.

boards/ID.yaml are storyboards that `alchemint generate` takes as they are, pictures/HASH.png what
they point to, renders/ID and videos/ID jobs with what came of them.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax import media
from alchemint_jax.outputs import alone, remove_halves


@dataclass(frozen=True)
class Workspace:
    """Where things are."""

    root: Path

    @property
    def boards(self) -> Path:
        """Of storyboards."""
        return self.root / "boards"

    @property
    def pictures(self) -> Path:
        """Of pictures."""
        return self.root / "pictures"

    @property
    def renders(self) -> Path:
        """Of jobs that render, and their results."""
        return self.root / "renders"

    @property
    def videos(self) -> Path:
        """Of videos that are annotated, and their scenes."""
        return self.root / "videos"


@contextlib.contextmanager
def opened(root: Path) -> Iterator[Workspace]:
    """The workspace in a folder, for one studio at a time; what was half written is removed.

    Raises:
        AlchemintError: the folder cannot be written, or another studio has it open.
    """
    workspace = Workspace(media.check_folder(root))
    parts = (workspace.boards, workspace.pictures, workspace.renders, workspace.videos)
    for part in parts:
        part.mkdir(parents=True, exist_ok=True)
    with alone(workspace.root, workspace.root):
        for part in parts:
            remove_halves(part, *part.glob("*/"))
            for half in [*part.glob(".*.partial"), *part.glob("*/.*.partial")]:
                shutil.rmtree(half, ignore_errors=True)
        yield workspace


def new_id() -> str:
    """A name that nothing else has."""
    return secrets.token_hex(8)


def write_json(path: Path, value: Any) -> None:
    """A file of JSON, whole or as it was."""
    media.write_bytes(path, json.dumps(value, ensure_ascii=False, indent=1).encode())


def read_json(path: Path) -> Any:
    """What a file of JSON says; None if it is not there, or was damaged by somebody else."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def remove(folder: Path) -> None:
    """Removes a folder at once: what is left half removed is no longer there by its name."""
    gone = folder.with_name(f".{folder.name}.partial")
    with contextlib.suppress(OSError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
