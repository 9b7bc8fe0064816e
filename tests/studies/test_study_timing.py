"""Ways to say when: only control and pictures differ, and the pages say what the file has."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from pages import assert_drawn, assert_said, guide, measured

from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.rotary import FittedRope
from alchemint_jax.worlds.sprites.cases import sprites_cases, sprites_clips
from studies import timing_figures as figures
from studies import timing_methods as study
from studies import timing_words as words
from studies import variants

pytestmark = pytest.mark.slow


def test_only_control_and_pictures_differ(monkeypatch):
    cases = sprites_cases(6, seed=3)
    truth = {case.id: video for case, video in sprites_clips(12, seed=3)}
    asked = []

    @dataclasses.dataclass(frozen=True)
    class Pipe:
        pictures: bool = True
        relay: object = None

        def render(self, scenes, control, **settings):
            way = figures.Way(control, self.relay)
            asked.append((self.pictures, way, scenes, settings))
            videos = np.stack([truth[scene.id] for scene in scenes])
            return videos if way != figures.Way() else np.full_like(videos, 120)

    monkeypatch.setattr(study, "without_pictures", lambda pipe: Pipe(False))
    found = study.measure(Pipe(), cases, seed=3, batch=3, progress=False)
    names = [name for names in study.GIVEN.values() for name in names]
    ways = [way for _, way, *_ in asked]
    assert ways[:3] + ways[6:] == [study.WAYS[name] for name in names]
    assert ways[3:6] == ways[:3], "each batch is drawn in all ways before the next one"
    assert [pictures for pictures, *_ in asked] == [True] * 6 + [False] * 5
    assert all(settings == asked[i // 3 * 3][3] for i, (*_, settings) in enumerate(asked[:6]))
    assert all(settings == asked[0][3] for *_, settings in asked[6:])
    for i, (pictures, way, scenes, _) in enumerate(asked):
        ids = [scene.id for scene in scenes]
        assert ids == [scene.id for scene in asked[i // 3 * 3 if pictures else 6][2]]
        if not pictures:
            assert all(" " in subject.word for scene in scenes for subject in scene.subjects)
        assert all(bool(scene.events) == bool(way.events) for scene in scenes)
    for key, summary in found["variants"].items():
        plain = key.endswith(figures.PLAIN)
        assert (summary["t_iou"]["mean"] == 0) == plain and summary["cost"]["mean"] > 0
        assert (summary["accuracy"]["mean"] > 0.95) != plain
        assert (key in found["differences"]) != plain
    assert found["variants"]["pictures: no control"]["cost"]["mean"] == 1
    report = found | {"limit": 3, "steps": 2}
    figure = study.draw_figure(report)
    assert b"gating, TempoControl" in figure and b"words alone" in figure
    assert figures.table(report).count("\n") == 2 + 5 + 9


def test_the_prompt_becomes_what_happens_to_each_subject():
    for case in sprites_cases(5, seed=3):
        told = study.eventful(case)
        assert not told.caption and [e.spans for e in told.events] == [
            subject.spans for subject in case.subjects
        ]
        for subject, event in zip(case.subjects, told.events, strict=True):
            assert event.text.startswith(f"a {subject.word} ") and event.text in case.caption


def test_whole_latent_frames_bound_the_overlap():
    """Against all choices of latent frames."""
    row = {"n_frames": 9, "asked": [[0, 2], [3, 8]]}
    asked = np.array([1, 1, 0, 1, 1, 1, 1, 1, 0], bool)
    best = 0.0
    for bits in itertools.product((False, True), repeat=3):
        shown = np.repeat(bits, (1, 4, 4))
        best = max(best, (asked & shown).sum() / (asked | shown).sum())
    assert figures.at_most(row) == best == 7 / 9
    assert figures.at_most({"n_frames": 9, "asked": [[1, 5]]}) == 1
    rows = {"pictures: a": [row | {"case": "one", "frame_iou": 0.5}]}
    found = figures.several(rows)
    assert [cell["mean"] for cell in found.values()] == pytest.approx([0.5, 7 / 9])


def test_frames_and_costs_are_counted():
    row = {"n_frames": 10, "asked": [[0, 4]], "shown": [[2, 4], [8, 9]]}
    assert figures.frames_right(row) == 0.7
    seconds = {"words alone: no control": [9.0, 1.0, 3.0], "words alone: a": [30.0, 2.0, 3.0]}
    assert figures.cost(seconds, "words alone: a") == {"mean": 1.25, "low": 1.0, "high": 2.0}


@pytest.mark.parametrize(
    ("slots", "scheme", "says"), [(0, None, "takes no references"), (3, FittedRope, "knows time")]
)
def test_models_that_say_nothing_here_are_refused(
    tmp_path, capsys, monkeypatch, slots, scheme, says
):
    config = SimpleNamespace(scheme=scheme and scheme())
    dit = SimpleNamespace(config=config)
    pipe = SimpleNamespace(
        limits=SimpleNamespace(max_subjects=slots), models=SimpleNamespace(dit=dit)
    )
    monkeypatch.setattr(variants, "prepare_jax", lambda: None)
    monkeypatch.setattr(variants.Pipeline, "load", lambda model: pipe)
    with pytest.raises(SystemExit) as error:
        study.main(["--model", "mine", "--out", str(tmp_path / "timing.json")])
    assert error.value.code == 2 and says in capsys.readouterr().err


def test_pages_say_what_was_measured():
    found, page = measured("timing_methods"), guide("timing_methods")
    methods = {name: repr(way) for name, way in study.WAYS.items() if way != figures.Way()}
    assert found["methods"] == methods and found["model"] == "sprites/untimed"
    assert found["weights"] == fingerprints("sprites/untimed")
    assert f"{found['limit']} boards in {found['steps']} sampling steps" in page
    assert_said(figures.table(found) + figures.several_table(found), page)
    assert_drawn("timing_methods", "gating, TempoControl")


def test_pages_say_what_was_measured_of_words():
    found, page = measured("timing_words"), guide("timing_methods")
    methods = {name: repr(way) for name, way in words.WAYS.items() if way != figures.Way()}
    assert found["methods"] == methods
    assert f"On {found['limit']} boards in {found['steps']} steps" in page
    assert_said(figures.table(found), page)
    assert_drawn("timing_words", "events, contrast")
    changed = ", ".join(
        f"{field.name}={getattr(words.TEMPO, field.name)!r}"
        for field in dataclasses.fields(words.TEMPO)
        if field.repr and getattr(words.TEMPO, field.name) != field.default
    )
    assert f"`TempoControl({changed})`" in guide("tempo")
