"""Every notebook runs at a small size, and is the same as its text twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def test_there_are_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


# Each in a namespace of its own, in one process: to start takes seconds. Models draw with their
# first layer alone, since nobody looks at what they draw.
RUN = """
import json, os, runpy, sys, traceback
import matplotlib.pyplot as plt
from rolled import rolled
from alchemint_jax import Pipeline
load = Pipeline.load
Pipeline.load = lambda *model, **how: rolled(load(*model, **how), layers=1)
said, problems = sys.argv[1], {}
for name in sys.argv[2:]:
    problems[name] = ""
    try:
        runpy.run_path(name, run_name="__main__")
    except BaseException:
        problems[name] = traceback.format_exc()
    plt.close("all")
with open(said, "w") as file:
    json.dump(problems, file)
os._exit(0)  # JAX would take seconds to let go of all programs
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """What went wrong in each notebook."""
    said = tmp_path_factory.mktemp("notebooks") / "problems.json"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    settings = {"NOTEBOOK_SMALL": "1", "MPLBACKEND": "Agg", "PYTHONPATH": paths}
    settings["JAX_ENABLE_COMPILATION_CACHE"] = "0"  # nobody reads what would be written
    settings["TMPDIR"] = str(said.parent)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(said), *(path.name for path in NOTEBOOKS)],
        cwd=ROOT / "notebooks",
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(said.read_text())


def test_make_runs_them_where_these_tests_do():
    """By default jupytext would run them where it writes what they print."""
    (line,) = (x for x in (ROOT / "Makefile").read_text().splitlines() if "--execute" in x)
    assert "--run-path ." in line
    assert "cd notebooks" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_notebook_runs(path, problems):
    assert not problems[path.name]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_the_saved_notebook_is_its_twin_without_outputs(path):
    import jupytext  # takes as long to import as these tests

    text, saved = (jupytext.read(p) for p in (path, path.with_suffix(".ipynb")))
    sources = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (text, saved)]
    assert sources[0] == sources[1], f"run `make notebooks`: {path.stem} was edited"
    assert not [cell for cell in saved.cells if cell.get("outputs") or cell.get("execution_count")]
