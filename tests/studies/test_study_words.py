"""Ways to say when, from words alone: what a model is asked for, and what the page says."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.sampling.control import Relay, TSAttn
from alchemint_jax.worlds.sprites.cases import sprites_cases, sprites_clips
from alchemint_jax.worlds.sprites.world import World
from studies import timing_figures as figures
from studies import timing_words as study
from studies import variants

pytestmark = pytest.mark.slow


def test_boards_are_of_what_the_model_reads():
    cases = study.worded(6, seed=3)
    assert len(cases) == 6 and {len(case.subjects) for case in cases} == {1}
    assert all(" " in subject.word for case in cases for subject in case.subjects)
    drawn = [case.caption for case in sprites_cases(4, 3, World.of_words())]
    assert [case.caption for case in cases[:2]] == [drawn[0], drawn[3]]
    assert [c.id for c in cases[:3]] == [c.id for c in study.worded(3, seed=3)]


@pytest.mark.parametrize("by", [Relay(), TSAttn()])
def test_the_prompt_becomes_what_happens_to_each_subject(by):
    for case in study.worded(6, seed=3):
        told = study.eventful(case, by)
        assert told.caption in {f"a {tone} background" for tone in ("dark", "grey", "light")}
        assert case.caption.endswith(f" on {told.caption}")
        assert [e.spans for e in told.events] == [subject.spans for subject in case.subjects]
        for subject, event in zip(case.subjects, told.events, strict=True):
            assert event.text.startswith(f"a {subject.word} ") and event.text in case.caption
            assert ("background" in event.text) == (by == Relay())


def test_each_way_is_asked_for_the_same_boards(monkeypatch):
    world = World.of_words()
    cases = study.worded(3, seed=3)
    truth = {case.id: video for case, video in sprites_clips(8, 3, world)}
    asked = []

    @dataclasses.dataclass(frozen=True)
    class Pipe:
        relay: object = None

        def render(self, scenes, control, **settings):
            way = figures.Way(control, self.relay)
            asked.append((way, scenes))
            videos = np.stack([truth[scene.id] for scene in scenes])
            return videos if way != figures.Way() else np.full_like(videos, 120)

    monkeypatch.setattr(study, "unseated", lambda pipe: pipe)
    found = study.measure(Pipe(), cases, seed=3, batch=3, progress=False)
    assert [way for way, _ in asked] == list(study.WAYS.values())
    for way, scenes in asked:
        wanted = [study.eventful(c, way.events) for c in cases] if way.events else cases
        assert [scene.id for scene in scenes] == [case.id for case in cases]
        assert [scene.events for scene in scenes] == [case.events for case in wanted]
    for name in study.WAYS:
        right = found["variants"][f"words alone: {name}"]["accuracy"]["mean"]
        assert (right > 0.95) != (name == figures.PLAIN)
    assert b"TS-Attn" in study.draw_figure(found | {"limit": 3, "steps": 2})


def test_a_model_with_references_is_refused(tmp_path, capsys, monkeypatch):
    pipe = SimpleNamespace(limits=SimpleNamespace(max_subjects=3))
    monkeypatch.setattr(variants, "prepare_jax", lambda: None)
    monkeypatch.setattr(variants.Pipeline, "load", lambda model: pipe)
    with pytest.raises(SystemExit) as error:
        study.main(["--model", "sprites", "--out", str(tmp_path / "timing.json")])
    assert error.value.code == 2 and "takes references" in capsys.readouterr().err
