"""A video that kills who watches it takes nothing else with it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import pytest
from colored import ColorTracker, draw, scene

from alchemint_jax import media
from alchemint_jax.evaluate.asks import Ask
from alchemint_jax.evaluate.videos import score_videos

pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Deadly(ColorTracker):
    def track(self, video, case):
        if case.id == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().track(video, case)


def test_processes_share_the_videos_and_one_that_dies_is_a_row(tmp_path):
    asks = [Ask.of_scene(scene({"red": [(4, 12)]}, name=name)) for name in "abc"]
    (tmp_path / "v").mkdir()
    for name in "abc":
        media.write_video(tmp_path / "v" / f"{name}.mp4", draw(20, {"red": [(4, 12)]}), 10)
    found = score_videos(tmp_path / "v", asks, Deadly, tmp_path / "out", workers=2, progress=False)
    assert found["overall"]["t_iou"]["mean"] == pytest.approx(2 / 3)
    videos = json.loads((tmp_path / "out" / "report.json").read_text())["videos"]
    assert [video["status"] for video in videos] == ["ok", "broken", "ok"]
    assert videos[1]["reason"] == "its process died (SIGKILL)"
