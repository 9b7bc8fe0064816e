"""Whether events happen: the truth follows them, a model that ignores them does not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from marks import assert_charts_alike, texts

from alchemint_jax.errors import StoryboardError
from alchemint_jax.evaluate.benchmark import check_model
from alchemint_jax.evaluate.html_report import Shown, render_html
from alchemint_jax.evaluate.scores import score
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Event, Spans
from alchemint_jax.worlds.sprites import SpritesTracker, sample_clip
from alchemint_jax.worlds.sprites.cases import FIRST_SEED
from studies import events, variants


def said(scene):
    return [(event.text, event.spans) for event in scene.events]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found():
    return events.boards(5, seed=3)


@pytest.fixture(scope="module")
def videos(found):
    seed = FIRST_SEED + 3
    indices = [int(board.case.id.split("-")[-1]) for board in found]
    return [sample_clip(index, seed, events.WORLD).video for index in indices]


def test_boards_have_events_that_change_one_color(found):
    assert len({board.case.id for board in found}) == 5
    for board in found:
        assert [(e.text, (e.during,)) for e in board.events] == said(board.case) != []


def test_a_model_that_hears_events_is_told_from_one_that_does_not(found, videos):
    truth = {board.case.caption: video for board, video in zip(found, videos, strict=True)}
    asked = []

    def draw(scenes, **settings):
        """Draws what is asked for; another time, or nothing, asks for another clip."""
        asked.append((*[(scene.caption, scene.subjects) for scene in scenes], settings))
        return np.stack(
            [
                truth[scene.caption]
                if said(scene) == said(board.case)
                else np.full_like(truth[scene.caption], 120)
                for scene, board in zip(scenes, found, strict=True)
            ]
        )

    result = events.measure(draw, found, seed=3, batch=5, progress=False)
    assert len(asked) == 3 and asked[0] == asked[1] == asked[2]
    assert result["boards"] == 5 and result["events"] == sum(len(b.events) for b in found)
    own = result["variants"]["events"]
    assert own["event"]["mean"] > 0.97 and own["followed"]["mean"] == own["shape"]["mean"] == 1
    for name in ("without", "exchanged"):
        assert result["variants"][name]["event"]["mean"] == 0
        assert result["differences"][name]["event"]["low"] > 0.9
    assert any("events on 5 boards" in text for text in texts(events.draw_figure(result)))


def test_times_are_exchanged():
    def event(text, *span):
        return Event(text, Spans([span]))

    a, b = event("a", 0, 8), event("b", 10, 20)
    assert events.exchanged([a, b], 33) == (event("a", 10, 20), event("b", 0, 8))
    assert events.exchanged([a], 33) == (event("a", 25, 33),)
    assert events.exchanged([event("a", 22, 30)], 33) == (event("a", 0, 8),)


def test_scores_and_pages_of_boards_with_events(found, videos):
    cases = [board.case for board in found]
    clips = {i: Shown("clip.mp4", "clip.jpg", 64, 64, True) for i in range(len(cases))}
    report = score(cases, videos, SpritesTracker(), resamples=20)
    page = render_html(report, cases, clips, gallery=5)
    for case in cases:
        assert all(event.text in page for event in case.events)


def test_a_model_without_events_is_refused_by_name(found, tmp_path, capsys, monkeypatch):
    limits = Settings(min_frames=33).limits(slots=3, events=False, stride=4)
    without = SimpleNamespace(limits=limits, check=lambda case: case.check(limits))
    with pytest.raises(StoryboardError, match=r"events-3-\d+: events: dense captions are not"):
        check_model(without, [board.case for board in found])
    monkeypatch.setattr(variants, "prepare_jax", lambda: None)
    monkeypatch.setattr(variants.Pipeline, "load", lambda model: without)
    with pytest.raises(SystemExit) as error:
        events.main(["--model", "mine", "--out", str(tmp_path / "events.json")])
    assert error.value.code == 2 and "--model mine: has no events" in capsys.readouterr().err


def test_the_committed_figure_is_that_of_the_committed_numbers():
    committed = Path(__file__).parents[2] / "docs" / "results" / "sprites_events.json"
    drawn = events.draw_figure(json.loads(committed.read_text()))
    assert_charts_alike(drawn, committed.with_suffix(".svg").read_bytes())
