"""Whether events happen: the truth follows them, a model that ignores them does not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.errors import StoryboardError
from alchemint_jax.evaluate import events
from alchemint_jax.evaluate.benchmark import check_model
from alchemint_jax.evaluate.report import render_html
from alchemint_jax.evaluate.scores import score
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.worlds.sprites.cases import FIRST_SEED
from alchemint_jax.worlds.sprites.world import sample_clip


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
        assert [(e.text, e.during) for e in board.events] == list(board.case.events) != []


def test_a_model_that_hears_events_is_told_from_one_that_does_not(found, videos):
    truth = {board.case.prompt: video for board, video in zip(found, videos, strict=True)}
    asked = []

    def draw(prompts, references, words, intervals, events=None, **settings):
        """Draws what is asked for; another time, or nothing, asks for another clip."""
        asked.append((prompts, intervals, settings))
        heard = [list(case.events) for case in (board.case for board in found)]
        given = [list(video) for video in events or [()] * len(prompts)]
        return np.stack(
            [
                truth[prompt] if want == have else np.full_like(truth[prompt], 120)
                for prompt, want, have in zip(prompts, heard, given, strict=True)
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
    assert "events on 5 boards" in events.draw_figure(result)


def test_times_are_exchanged():
    a, b = ("a", (0, 8)), ("b", (10, 20))
    assert events.exchanged([a, b], 33) == (("a", (10, 20)), ("b", (0, 8)))
    assert events.exchanged([a], 33) == (("a", (25, 33)),)
    assert events.exchanged([("a", (22, 30))], 33) == (("a", (0, 8)),)


def test_scores_and_pages_of_boards_with_events(found, videos):
    cases = [board.case for board in found]
    page = render_html(score(cases, videos, resamples=20), videos, cases, gallery=5)
    for case in cases:
        assert all(text in page for text, _ in case.events)


def test_a_model_without_events_is_refused_by_name(found, tmp_path, capsys, monkeypatch):
    limits = Settings(min_frames=33).limits(slots=3, events=False)
    without = SimpleNamespace(limits=limits, check_lengths=lambda *texts: None)
    with pytest.raises(StoryboardError, match=r"events-3-\d+: events: dense captions are not"):
        check_model(without, [board.case for board in found])
    monkeypatch.setattr(events, "prepare_jax", lambda: None)
    monkeypatch.setattr(events.Pipeline, "load", lambda model: without)
    with pytest.raises(SystemExit) as error:
        events.main(["--model", "mine", "--out", str(tmp_path / "events.json")])
    assert error.value.code == 2 and "--model mine: has no events" in capsys.readouterr().err
