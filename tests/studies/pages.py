"""What was measured, and the pages that say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def measured(name: str) -> Any:
    """The numbers of a committed result."""
    return json.loads((DOCS / "results" / f"{name}.json").read_text())


def guide(name: str) -> str:
    """A page, with one blank wherever there is some."""
    return " ".join((DOCS / "guides" / f"{name}.md").read_text().split())


def assert_drawn(name: str, text: str) -> None:
    """That a committed chart says so."""
    kept = (DOCS / "results" / f"{name}.svg").read_bytes()
    assert kept.startswith(b"<?xml") and text.encode() in kept


def assert_said(table: str, page: str) -> None:
    """That a page has each line of a table."""
    for line in table.splitlines():
        assert line in page, line
