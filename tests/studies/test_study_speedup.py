"""A student is timed beside its teacher, in processes of their own."""

from __future__ import annotations

import json

import pytest

from studies import speedup

DOCS = speedup.ROOT / "docs"

STUB = """
class Storyboard:
    @staticmethod
    def load(file):
        assert open(file).read()
        return "board"
class Pipeline:
    def __init__(self, model):
        self.model = model
    @classmethod
    def load(cls, model, vae=None):
        if model == "broken":
            raise SystemExit("no such model")
        return cls(model)
    def generate(self, board, seed):
        import time
        assert (board, seed) == ("board", 0)
        time.sleep(0.2 if self.model == "sprites" else 0.01)
"""


@pytest.fixture
def tree(tmp_path):
    package = tmp_path / "tree" / "alchemint_jax"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STUB)
    (package / "compilation.py").write_text("def prepare_jax(): pass")
    return package.parent


def test_trees_render_in_turns(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speedup, "ROOT", tree)
    out = tmp_path / "found.json"
    assert speedup.main(["--beside", str(tree), "--pairs", "2", "--out", str(out)]) == 0
    found = json.loads(out.read_text())["base"]
    assert list(found) == ["teacher", "before"]
    for own in found.values():
        assert own["pairs"] == 2 and own["factor"]["student"]["median"] > 3
    assert "student: " in capsys.readouterr().out


def test_a_side_that_does_not_render_ends_it(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speedup, "ROOT", tree)
    monkeypatch.setattr(speedup, "WAYS", {"teacher": ("broken",)})
    with pytest.raises(SystemExit):
        speedup.main(["--out", str(tmp_path / "found.json")])
    assert "a process could not render" in capsys.readouterr().err


def test_both_are_timed_in_turns():
    calls = []
    draws = {name: (lambda name=name: calls.append(name)) for name in ("slow", "fast")}
    seconds = speedup.in_turns(draws, pairs=3)
    assert calls == ["slow", "fast"] * 4, "the first of each is not timed: it may compile"
    assert [len(own) for own in seconds.values()] == [3, 3]
    found = speedup.speed({"slow": [2, 4, 6], "fast": [1, 1, 2]}, "slow")
    assert found["pairs"] == 3 and found["seconds"] == {"slow": 4, "fast": 1}
    assert found["factor"] == {"fast": {"median": 3, "lowest": 2, "highest": 4}}


def test_the_page_says_what_was_measured():
    page = " ".join((DOCS / "guides" / "few_steps.md").read_text().split())
    found = json.loads((DOCS / "results" / "speedup.json").read_text())["base"]["teacher"]
    seconds = found["seconds"]
    for name in ("student", "tiny"):
        factor = found["factor"][name]
        ends = f"{factor['lowest']:.1f} to {factor['highest']:.1f}"
        assert f"{factor['median']:.1f} times as fast ({ends} in 7 pairs, in turns)" in page
        assert f"{seconds[name]:.2f} s" in page
    assert found["pairs"] == 7 and f"{seconds['teacher']:.2f} s" in page
