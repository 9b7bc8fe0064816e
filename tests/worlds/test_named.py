"""Worlds and trackers by name, and what is said where a name leads nowhere."""

from __future__ import annotations

import re

import pytest

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError
from alchemint_jax.worlds import named

MODULE = """
class Watcher:
    measures = notes = {}
    def check(self, picture): ...
    def track(self, video, case): ...

class World:
    name, limit, tracker = "mine", None, Watcher()
    def cases(self, pipe, limit, seed): return []

WORLD = World()
NUMBER = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_named_world.py").write_text(MODULE)
    (tmp_path / "my_broken_world.py").write_text("import absent_module_of_mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # puts back what the search adds to the path
    return "my_named_world"


def test_names_lead_to_objects(module):
    assert named.benchmark("sprites").name == "sprites"
    assert named.tracker("sprites") == named.benchmark("sprites").tracker
    world = named.benchmark(f"{module}:WORLD")
    assert world.name == "mine"
    assert named.tracker(f"{module}:WORLD.tracker") is world.tracker


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("sprite", "sprite: neither 'sprites' nor MODULE:NAME"),
        ("my_absent_world:WORLD", "cannot be imported: .*No module named 'my_absent_world'"),
        ("my_broken_world:WORLD", "cannot be imported: .*absent_module_of_mine"),
        ("my_named_world:OTHER", "has no attribute 'OTHER'"),
        ("my_named_world:World", "is a class; give an object of it"),
        ("my_named_world:NUMBER", "a int is no benchmark: see Benchmark"),
        ("my_named_world:WORLD.tracker", "a Watcher is no benchmark"),
    ],
)
def test_names_that_lead_nowhere_are_explained(module, path, says):
    with pytest.raises(ConfigError, match=f"^{re.escape(path)}: |^sprite: ") as error:
        named.benchmark(path)
    assert re.search(says, str(error.value))


def test_a_world_brings_its_own_tracker(module, tmp_path, capsys):
    words = ["evaluate", "--out", str(tmp_path / "r"), "--benchmark", f"{module}:WORLD"]
    assert cli.main([*words, "--tracker", "sprites"]) == 2
    assert "--tracker sprites: is for files" in capsys.readouterr().err
