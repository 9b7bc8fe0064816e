"""Phrases that a native reader stumbles over stay away from documents, docstrings and messages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("alchemint_jax", "benchmarks", "configs", "docs", "launch", "notebooks", "studies")
ODD = re.compile(
    r"\banew\b|\bworked off\b|\bwhat is given of\b|\bof one's own\b|\bto be seen from\b"
)


def test_no_odd_phrases():
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*")]
    texts = [*ROOT.glob("*.md"), *(p for p in paths if p.suffix in (".html", ".js", ".md", ".py"))]
    found = {p.relative_to(ROOT).as_posix(): ODD.findall(p.read_text("utf-8")) for p in texts}
    assert len(found) > 400
    assert not {path: phrases for path, phrases in found.items() if phrases}


def test_odd_phrases_are_found():
    assert ODD.search("They are drawn anew.") and not ODD.search("They are drawn again; a newt.")
