"""Inbetweening: only keyframes and control differ, and the page says what the file has."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pages import assert_drawn, assert_said, guide, measured

from alchemint_jax.scene import Clock
from alchemint_jax.worlds.sprites.cases import sprites_clips
from studies import inbetween as study

pytestmark = pytest.mark.slow


def test_only_keyframes_and_control_differ():
    boards = [study.Board(*pair) for pair in sprites_clips(3, 3)]
    asked = []

    @dataclasses.dataclass(frozen=True)
    class Pipe:
        clean_keyframes: bool = False

        def render(self, scenes, control=None, **settings):
            assert self.clean_keyframes
            asked.append((control, [scene.given_at for scene in scenes], settings))
            clips = {board.case.id: board.clip for board in boards}
            videos = np.stack([clips[scene.id] for scene in scenes])
            return videos if control else np.roll(videos, 3, axis=1)

    found = study.measure(Pipe(), boards, seed=3, batch=3, progress=False)
    assert [given for _, given, _ in asked] == [[()] * 3, *[[(0, 32)] * 3] * 5]
    assert [control for control, *_ in asked[1:]] == list(study.CONTROLS.values())
    assert all(settings == asked[0][2] for *_, settings in asked)
    for name in study.CONTROLS:
        summary = found["variants"][name]
        assert (summary["psnr"]["mean"] == 100) == (name != study.PLAIN)
        assert (summary["pace"]["mean"] == 0) == (name != study.PLAIN)
    assert found["differences"]["KAB"]["pace"]["high"] < 0
    figure = study.draw_figure(found | {"limit": 3, "steps": 2})
    assert b"no keyframes" in figure and b"gain_over_plain" in figure
    assert study.table(found).count("\n") == 2 + 7 + 6


def test_pace_is_where_things_change():
    def clip(*changes):
        """Of a step each, in which so many pixels turn from black to white or back."""
        video = np.zeros((len(changes) + 1, 4, 4, 3), np.uint8)
        for step, count in enumerate(changes):
            video[step + 1 :].reshape(-1, 16, 3)[:, :count] ^= 255
        return video

    even, late = clip(2, 2, 2, 2), clip(0, 0, 0, 9)
    assert study.pace(even, clip(4, 4, 4, 4)) == 0
    assert study.pace(even, late) == 0.75
    assert study.pace(np.where(late, 255, 12).astype(np.uint8), late) == 0
    still = np.full_like(even, 8)
    assert study.pace(even, still) == study.pace(still, even) == 1 and study.pace(still, still) == 0
    assert (study.fade(late)[2, 0, 0] == 128).all() and (
        study.fade(late)[[0, -1]] == late[[0, -1]]
    ).all()
    assert study.between(Clock(8.0, 33, 4)) == (1, 29)


def test_the_page_says_what_was_measured():
    found, page = measured("sprites_inbetween"), guide("inbetween")
    controls = {name: repr(control) for name, control in study.CONTROLS.items() if control}
    assert found["controls"] == controls
    assert f"{found['limit']} boards in {found['steps']} sampling steps" in page
    assert_said(study.table(found), page)
    assert_drawn("sprites_inbetween", "KAB, ReTRo")
