"""A student is timed beside its teacher, in processes of their own."""

from __future__ import annotations

import functools
import json
import time

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
    written = json.loads(out.read_text())
    for found in (written["base"], written["first"]):
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

    def draw(name, slow_at_first):
        time.sleep(0.05 if slow_at_first and name not in calls[-1:] else 0)
        calls.append(name)

    draws = {n: functools.partial(draw, n, n == "slow") for n in ("slow", "fast")}
    again, first = speedup.in_turns(draws, pairs=3)
    assert calls[:2] == ["slow", "fast"], "the first of each is not timed: it may compile"
    assert calls[2:] == ["slow", "slow", "fast", "fast"] * 3
    assert [len(own) for own in (*again.values(), *first.values())] == [3] * 4
    assert min(first["slow"]) >= 0.05 > min(again["slow"])
    found = speedup.speed({"slow": [2, 4, 6], "fast": [1, 1, 2]}, "slow")
    assert found["pairs"] == 3 and found["seconds"] == {"slow": 4, "fast": 1}
    assert found["factor"] == {"fast": {"median": 3, "lowest": 2, "highest": 4}}


def test_the_page_says_what_was_measured():
    page = " ".join((DOCS / "guides" / "few_steps.md").read_text().split())
    written = json.loads((DOCS / "results" / "speedup.json").read_text())
    found, first = written["base"]["teacher"], written["first"]["teacher"]["factor"]
    seconds = found["seconds"]
    firsts = (f"{first[name]['median']:.1f}" for name in ("student", "tiny"))
    assert "of a turn, {} and {} times".format(*firsts) in page
    for name in ("student", "tiny"):
        factor = found["factor"][name]
        ends = f"{factor['lowest']:.1f} to {factor['highest']:.1f}"
        assert f"{factor['median']:.1f} times as fast ({ends} in 7 pairs, in turns)" in page
        assert f"{seconds[name]:.2f} s" in page
    assert found["pairs"] == 7 and f"{seconds['teacher']:.2f} s" in page
