"""Files beside the package that its commands read by name: in a checkout, or installed with it."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDERS = ("benchmarks", "configs", "examples")
"""Where they are, below `root`; `setup.py` puts these into the package that is installed."""


def root() -> Path:
    """The folder that holds `FOLDERS`."""
    package = Path(__file__).resolve().parent
    installed = package / "bundled" / "files"
    return installed if installed.is_dir() else package.parent


def find(name: str | Path) -> Path:
    """The file of this name; where the current folder has none, the one that was shipped.

    So `configs/sprites.py` means the same everywhere, and a file of the user's always comes first.
    Which one is used instead is said on standard error. A name that is of neither is left as it is,
    for whoever opens it to complain about.
    """
    path = Path(name)
    shipped = root() / path
    inside = any(Path(folder) in path.parents for folder in FOLDERS)
    if path.exists() or not inside or ".." in path.parts or not shipped.is_file():
        return path
    print(f"alchemint: {path} is not in this folder; taking {shipped}", file=sys.stderr)
    return shipped
