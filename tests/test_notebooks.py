"""Every notebook runs at a small size, and is the same as its text twin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def test_there_are_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_runs(path):
    settings = {"NOTEBOOK_SMALL": "1", "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, path.name],
        cwd=path.parent,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_saved_notebook_is_its_twin_without_outputs(path):
    text, saved = (jupytext.read(p) for p in (path, path.with_suffix(".ipynb")))
    sources = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (text, saved)]
    assert sources[0] == sources[1], f"run `make notebooks`: {path.stem} was edited"
    assert not [cell for cell in saved.cells if cell.get("outputs") or cell.get("execution_count")]
