"""Curves over steps and guidance: each point is measured once, of one model and the same boards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from marks import assert_charts_alike, marks, texts

from alchemint_jax import weights
from studies import sampling

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Keep the tests' own compilations out of the user's cache."""
    monkeypatch.setattr(sampling, "prepare_jax", lambda: None)


@pytest.fixture
def asked(monkeypatch):
    """What was measured, without rendering anything."""
    found = []

    def measure(model, *, limit, seed, setting, value):
        found.append((setting, value))
        figure = {"mean": value / 100, "low": 0.0, "high": 0.9}
        return dict.fromkeys(sampling.SHOWN, figure)

    monkeypatch.setattr(sampling, "measure", measure)
    return found


def _main(folder, *more):
    paths = ["--out", str(folder / "c.json"), "--figure", str(folder / "c.svg")]
    return sampling.main([*paths, *more])


def test_each_point_is_measured_once(tmp_path, asked):
    assert _main(tmp_path, "--steps", "5", "10", "--both", "1", "--image", "2") == 0
    assert asked == [("steps", 5), ("steps", 10), ("both", 1.0), ("image", 2.0)]
    assert _main(tmp_path, "--steps", "5", "20", "--both", "1", "--image", "2") == 0
    assert asked[4:] == [("steps", 20)]
    points = json.loads((tmp_path / "c.json").read_text())["points"]
    assert points["steps"]["20"]["t_iou"]["mean"] == 0.2
    picture = (tmp_path / "c.svg").read_bytes()
    assert sum(map(len, marks(picture).values())) == 3 * 5
    assert set(sampling.SETTINGS.values()) <= set(texts(picture))


def test_a_value_given_is_the_same_point_as_a_default(tmp_path, asked):
    _main(tmp_path)
    before = len(asked)
    assert before == 12
    _main(tmp_path, "--steps", "40", "--both", "1", "2.0", "3", "--image", "0")
    assert len(asked) == before


def test_the_committed_curves_are_of_the_bundled_model(tmp_path, asked):
    """Other weights would be refused, and a point that is missing would be measured."""
    committed = RESULTS / "sprites_curves.json"
    shutil.copy(committed, tmp_path / "c.json")
    assert _main(tmp_path, "--model", "sprites", "--limit", "32") == 0
    assert asked == []
    assert_charts_alike(
        (tmp_path / "c.svg").read_bytes(), committed.with_suffix(".svg").read_bytes()
    )


@pytest.mark.parametrize(
    "more, message",
    [
        (["--steps", "0"], "whole number of at least 1"),
        (["--both", "nan"], "number from 0 to 100"),
        (["--image", "-1"], "number from 0 to 100"),
        (["--limit", "0"], "whole number of at least 1"),
        (["--steps", "--both", "--image"], "nothing to measure"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, asked, capsys, more, message):
    with pytest.raises(SystemExit) as error:
        _main(tmp_path, *more)
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not asked and not list(tmp_path.iterdir())


def test_points_of_other_boards_are_not_mixed(tmp_path, asked, capsys):
    _main(tmp_path, "--steps", "5", "--both", "--image")
    other = str(weights.locate("sprites"))
    before = (tmp_path / "c.json").read_bytes()
    for more in (["--seed", "12"], ["--limit", "3"], ["--model", other]):
        with pytest.raises(SystemExit) as error:
            _main(tmp_path, "--steps", "5", *more)
        assert error.value.code == 2
        assert "belongs to another model, or other weights, limit" in capsys.readouterr().err
    assert (tmp_path / "c.json").read_bytes() == before and len(asked) == 1
    retrained = [
        before.replace(f'"{part}": "'.encode(), f'"{part}": "0'.encode())
        for part in ("transformer", "vae", "text_encoder")
    ]
    assert before not in retrained
    for text, message in (
        (b"[]", "does not hold curves that this command wrote"),
        (before.replace(b'"steps"', b'"sampling steps"'), "its points are of sampling steps"),
        *((text, "belongs to another model, or other weights") for text in retrained),
    ):
        (tmp_path / "c.json").write_bytes(text)
        with pytest.raises(SystemExit):
            _main(tmp_path)
        assert message in capsys.readouterr().err


def test_a_point_is_the_benchmark_with_one_setting_changed(monkeypatch):
    asked = []

    def run_benchmark(model, benchmark, **settings):
        asked.append(settings)
        return {"overall": {"t_iou": {"mean": float("nan")}}, "correlation": {"midpoint": 1.0}}

    monkeypatch.setattr(sampling, "run_benchmark", run_benchmark)
    for setting, value in (("steps", 10), ("both", 7.0), ("image", 0.5)):
        point = sampling.measure("sprites", limit=4, seed=5, setting=setting, value=value)
        assert point == {"t_iou": {"mean": None}, "correlation": {"midpoint": 1.0}}
    steps, both, image = asked
    assert steps["steps"] == 10 and "guidance" not in steps
    assert both["guidance"] == {"both": 7} and "steps" not in both
    assert image["guidance"] == {"image": 0.5} and "steps" not in image
    assert all(point["limit"] == 4 and point["seed"] == 5 for point in asked)
