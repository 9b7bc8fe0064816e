"""How long a command takes to start: trees in turn, and the page that says it."""

from __future__ import annotations

import json

import pytest
from pages import assert_said, guide, measured

from alchemint_jax.errors import DataError
from studies import start as study

pytestmark = pytest.mark.slow


def test_trees_run_in_turn_and_the_first_run_of_each_is_apart(tmp_path, monkeypatch, capsys):
    calls = []

    def run(tree, cache, steps, options=()):
        calls.append((tree, steps, tuple(options)))
        seconds = 9.0 if len(calls) <= 2 else (1.0 if tree == study.ROOT else 4.0)
        return dict.fromkeys((*study.MARKS, "process"), seconds)

    monkeypatch.setattr(study, "run", run)
    out, other = tmp_path / "start.json", tmp_path / "other"
    asked = ["--beside", str(other), "--repeats", "2", "--model", "sprites/fast"]
    assert study.main([*asked, "--out", str(out)]) == 0
    model = ("--model", "sprites/fast")
    assert calls == [(study.ROOT, None, model), (other, None, ())] * 3
    found = json.loads(out.read_text())
    assert found["options"] == list(model) and found["machine"]["threads"] >= 1
    rows = found["seconds"]["video"]
    assert rows["now"]["cold"]["file"] == 9 and rows["now"]["warm"]["file"]["median"] == 1
    assert "| video, ratio | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 |" in capsys.readouterr().out


def test_a_command_that_fails_is_told_of(tmp_path):
    with pytest.raises(DataError, match="the command failed: .*no model of that name"):
        study.run(study.ROOT, tmp_path, None, ["--model", "no model of that name"])


def test_the_page_says_what_was_measured():
    for name in ("start", "start_fast"):
        assert_said(study.table(measured(name)["seconds"]), guide("few_steps"))
