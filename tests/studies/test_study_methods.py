"""All methods side by side: the studies' own figures, and the page that says them."""

from __future__ import annotations

import json

import pytest
from pages import DOCS, assert_drawn, assert_said, guide, measured

from studies import methods as study

pytestmark = pytest.mark.slow


def test_figures_are_those_of_the_studies():
    """No block is without a cost: of time, or counted."""
    found = measured("methods")
    assert found["sources"] == [block.source for block in study.BLOCKS]
    for block in study.BLOCKS:
        own, given = found["blocks"][block.question], measured(block.source)
        variants = given.get("variants") or given["arms"]
        assert list(own) == [study.WITHOUT, *block.methods]
        for name, key in {study.WITHOUT: block.without, **block.methods}.items():
            for figure in block.figures:
                assert own[name][figure] == variants[key][figure], (block.question, name)
            assert own[name]["cost"]["mean"] > 0.5
        assert own[study.WITHOUT]["cost"]["mean"] == 1


def test_a_gate_adds_operations_and_a_place_of_references_none():
    config = "configs/sprites_rrope.py"
    first, future = (study.operations(f"{config}:{arm}") for arm in ("first", "future"))
    assert first == future > 1e8
    gated = study.operations("configs/sprites.py", control=study.Gating())
    assert 1 < gated / study.operations("configs/sprites.py") < 1.1


def test_the_page_says_all_of_it():
    assert_said(study.table(measured("methods")), guide("timing_methods"))
    assert_drawn("methods", "relay with contrast")
    assert "none to be seen" in study.table(measured("methods"))


def test_results_that_are_not_there_are_named(tmp_path, capsys):
    (tmp_path / "timing_methods.json").write_text("no JSON")
    for missing in ("timing_methods.json", "sprites_gating.json"):
        with pytest.raises(SystemExit) as error:
            study.main(["--results", str(tmp_path), "--out", str(tmp_path / "out.json")])
        assert error.value.code == 2 and missing in capsys.readouterr().err
        assert not (tmp_path / "out.json").exists()
        whole = json.loads((DOCS / "results" / "timing_methods.json").read_text())
        (tmp_path / "timing_methods.json").write_text(json.dumps(whole))
