"""A video that kills who watches it takes nothing else with it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import pytest
from colored import ColorTracker, draw, scene

from alchemint_jax import media
from alchemint_jax.evaluate import videos
from alchemint_jax.evaluate.asks import Ask

pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Deadly(ColorTracker):
    def track(self, video, case):
        if case.id == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().track(video, case)


def test_one_that_dies_is_a_row_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "_TRIES", 1)
    asks = [Ask.of_scene(scene({"red": [(4, 12)]}, name=name)) for name in "bc"]
    (tmp_path / "v").mkdir()
    for name in "bc":
        media.write_video(tmp_path / "v" / f"{name}.mp4", draw(20, {"red": [(4, 12)]}), 10)
    found = videos.score_videos(
        tmp_path / "v", asks, Deadly, tmp_path / "out", workers=1, progress=False
    )
    assert found["overall"]["t_iou"]["mean"] == pytest.approx(1 / 2)
    broken, ok = json.loads((tmp_path / "out" / "report.json").read_text())["videos"]
    assert (broken["status"], ok["status"]) == ("broken", "ok")
    assert broken["reason"] == "its process died (SIGKILL)"
