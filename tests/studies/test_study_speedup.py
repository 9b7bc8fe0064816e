"""A student is timed beside its teacher, in processes of their own."""

from __future__ import annotations

import json

import pytest

from studies import speedup

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
    found = json.loads(out.read_text())["faster"]
    assert list(found) == ["than teacher", "than before"]
    for own in found.values():
        assert own["pairs"] == 2 and own["factor"]["student"]["median"] > 3
    assert "student: " in capsys.readouterr().out


def test_a_side_that_does_not_render_is_named(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speedup, "ROOT", tree)
    monkeypatch.setattr(speedup, "WAYS", {"teacher": ("broken",)})
    with pytest.raises(SystemExit):
        speedup.main(["--out", str(tmp_path / "found.json")])
    assert "broken: was not rendered" in capsys.readouterr().err
