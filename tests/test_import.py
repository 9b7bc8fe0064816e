"""Importing is instant and does no work; public names resolve lazily; imports point downwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import alchemint_jax as al

ROOT = Path(__file__).parents[1]
PROBE = """
import json, sys, time
start = time.perf_counter()
import alchemint_jax
seconds = time.perf_counter() - start
heavy = [m for m in ("jax", "flax", "numpy", "av", "PIL", "yaml") if m in sys.modules]
print(json.dumps({"seconds": seconds, "heavy": heavy, "names": dir(alchemint_jax)}))
"""


def test_import_is_instant_and_starts_nothing():
    # The best of three: a busy machine may delay one run, but never hurries one.
    probes = [
        json.loads(
            subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=True).stdout
        )
        for _ in range(3)
    ]
    assert min(probe["seconds"] for probe in probes) < 0.3
    assert probes[0]["heavy"] == []
    assert set(al.__all__) <= set(probes[0]["names"])


@pytest.mark.parametrize("name", al.__all__)
def test_every_public_name_resolves(name):
    assert getattr(al, name) is getattr(al, name)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="storybord"):
        al.storybord  # noqa: B018


# Training asks for a world by its name, as users do.
@pytest.mark.parametrize(
    ("room", "known"),
    [*((room, "sprite|worlds") for room in ("data", "evaluate", "perceive")), ("train", "sprite")],
)
def test_rooms_know_no_world(room, known):
    files = list((Path(al.__file__).parent / room).rglob("*.*"))
    texts = {path.name: path.read_text() for path in files if path.suffix in (".py", ".html")}
    assert texts
    assert [name for name, text in texts.items() if re.search(known, text, re.I)] == []


def test_the_suite_sees_eight_cpu_devices():
    assert len(jax.devices("cpu")) == 8


def test_rank_promotion_raises():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)


def lint_imports(folder):
    """What import-linter says of the package by the contracts in the pyproject.toml of a folder."""
    path = [str(ROOT), os.environ.get("PYTHONPATH")]
    code = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
    )


def test_imports_point_downwards():
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout
    assert "3 kept, 0 broken" in found.stdout


def test_an_import_that_points_upwards_is_found(tmp_path):
    """As if what everything imports stood above everything."""
    contracts, last = (ROOT / "pyproject.toml").read_text(), '  "errors",\n'
    assert last in contracts
    contracts = contracts.replace(last, "").replace("layers = [\n", "layers = [\n" + last)
    (tmp_path / "pyproject.toml").write_text(contracts)
    found = lint_imports(tmp_path)
    assert found.returncode == 1 and "is not allowed to import alchemint_jax.errors" in found.stdout
