"""What the commands read by name is there in an installed package too, wherever they are run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alchemint_jax import arguments, shipped

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

# What README does first, in a folder with nothing in it.
PROBE = """
import sys
import alchemint_jax as al
from alchemint_jax import cli, commands, demo, media, shipped
from alchemint_jax.bench import suite

commands.prepare_jax = lambda: None
demo.Pipeline.load = None  # found out only once the storyboards are
try:
    demo.run_demo(None)
except TypeError:
    pass
assert len(al.Storyboard.load(shipped.root() / "examples" / "two_subjects.yaml").subjects) == 2
(case,) = suite.default_cases(["sprites-train"])
words = ["train", "--config", "configs/wan_14b.py:lora", "--workdir", "run", "--dry-run"]
words += [f"--config.model.{x}" for x in ("dim=48", "n_heads=2", "n_layers=1", "ffn_dim=64")]
words += ["--config.text.dim=16", "--config.text.n_layers=1", "--config.model.text_dim=16"]
sys.exit(cli.main(words))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What a wheel holds, unpacked; the package index is not asked for anything."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["build", "--build-base", str(folder / "base"), "--build-lib", str(folder / "lib")]
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", *build]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return folder / "lib"


def test_a_wheel_has_all_that_is_read_by_name(installed):
    there = installed / "alchemint_jax" / "bundled"
    sets = ("benchmarks/*/*.json*", "benchmarks/*/pictures/*")
    for pattern in ("configs/*.py", "examples/*.yaml", "examples/refs/*", *sets):
        files = [path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file()]
        assert files and all((there / "files" / path).is_file() for path in files)
    for name in ("pipeline.json", "vae/model.safetensors", "pictures/transformer/config.json"):
        assert (there / "sprites" / name).is_file()
    modules = {path.relative_to(ROOT) for path in ROOT.glob("alchemint_jax/**/*.py")}
    assert all((installed / module).is_file() for module in modules)
    pages = [path.relative_to(ROOT) for path in ROOT.glob("alchemint_jax/**/templates/*")]
    pages += [path.relative_to(ROOT) for path in ROOT.glob("alchemint_jax/studio/page/*")]
    assert pages and all((installed / page).is_file() for page in pages)
    assert not (ROOT / "alchemint_jax" / "bundled" / "files").exists()


def test_commands_find_what_they_read_in_an_empty_folder(installed, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    there = installed / "alchemint_jax" / "bundled" / "files" / "configs" / "wan_14b.py"
    assert f"configs/wan_14b.py is not in this folder; taking {there}" in result.stderr
    assert f"{there}:lora: dit, 40000 steps" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_this_folder_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert shipped.find("configs/sprites.py") == ROOT / "configs" / "sprites.py"
    assert "configs/sprites.py is not in this folder; taking" in capsys.readouterr().err
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "sprites.py").write_text("")
    assert arguments.config("configs/sprites.py:clips") == "configs/sprites.py:clips"
    named = ("configs/../setup.py", "configs", "setup.py", "examples/none.yaml", "a/b.py", "")
    for name in (*named, str(ROOT / "configs" / "none.py")):
        assert shipped.find(name) == Path(name)
    assert arguments.config("mine.py") == "mine.py"
    assert capsys.readouterr().err == ""
