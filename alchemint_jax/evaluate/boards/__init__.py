"""Benchmarks as files: made, checked, read from the formats of others, and written for others.

A set is a folder: boards.jsonl with a storyboard and its id on each line, pictures/ beside it, and
benchmark.json, which says how it was made and what was left out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.evaluate.boards.board import Board, find, read_boards
    from alchemint_jax.evaluate.boards.checking import Report, check
    from alchemint_jax.evaluate.boards.draft import Draft, Role
    from alchemint_jax.evaluate.boards.formats import (
        EXPORTS,
        IMPORTS,
        Exported,
        export_boards,
        import_boards,
    )
    from alchemint_jax.evaluate.boards.formats.common import Options
    from alchemint_jax.evaluate.boards.making import Request, Rules, make, read_prompts
    from alchemint_jax.evaluate.boards.writing import Made, write_set

_HOMES = {
    **dict.fromkeys(("Board", "find", "read_boards"), "board"),
    **dict.fromkeys(("Report", "check"), "checking"),
    **dict.fromkeys(("Draft", "Role"), "draft"),
    **dict.fromkeys(
        ("EXPORTS", "IMPORTS", "Exported", "export_boards", "import_boards"), "formats"
    ),
    **dict.fromkeys(("Request", "Rules", "make", "read_prompts"), "making"),
    **dict.fromkeys(("Made", "write_set"), "writing"),
    "Options": "formats.common",
}

__all__ = [
    "EXPORTS",
    "IMPORTS",
    "Board",
    "Draft",
    "Exported",
    "Made",
    "Options",
    "Report",
    "Request",
    "Role",
    "Rules",
    "check",
    "export_boards",
    "find",
    "import_boards",
    "make",
    "read_boards",
    "read_prompts",
    "write_set",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
