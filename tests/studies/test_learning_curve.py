"""Learning curves: drawn from what a run logged, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from marks import texts

from alchemint_jax.train.metrics import read_metrics
from studies import learning_curve

RESULTS = Path(__file__).parents[2] / "docs" / "results"
RUNS = [path.stem for path in RESULTS.glob("sprites*.jsonl")]


@pytest.mark.parametrize("name", RUNS)
def test_the_committed_pictures_are_those_of_the_committed_runs(name, tmp_path):
    learning_curve.main([str(RESULTS / f"{name}.jsonl"), str(tmp_path / "c.svg")])
    found, committed = (f.read_bytes() for f in (tmp_path / "c.svg", RESULTS / f"{name}.svg"))
    lines = read_metrics(RESULTS / f"{name}.jsonl")
    series = learning_curve.curves(lines, ["loss", "validation/loss"])
    assert set(series) | {"training steps", "loss (log scale)"} <= set(texts(found))
    words = [{t for t in texts(svg) if t.isalpha()} for svg in (found, committed)]
    assert words[0] == words[1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"step": 1, "lr": 0.1}], "metrics.jsonl: has no loss or validation/loss"),
        ([], "metrics.jsonl: has no loss"),
        ([{"step": 1, "loss": 0.0}], "loss is not positive"),
        (None, "metrics.jsonl"),
    ],
)
def test_a_run_without_a_curve_is_refused_by_name(tmp_path, capsys, lines, message):
    path = tmp_path / "metrics.jsonl"
    if lines is not None:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SystemExit) as error:
        learning_curve.main([str(path), str(tmp_path / "c.svg")])
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "c.svg").exists()
