"""Clips of scenes: what is encoded again is what the source shows."""

from __future__ import annotations

import av
import blobs
import numpy as np
import pytest

from alchemint_jax.annotate import timeline
from alchemint_jax.annotate.settings import Clips
from alchemint_jax.annotate.stages import clips


def row(path, start, frames, **more):
    line = timeline.timeline(path)
    found = {"id": "scene", "source": path.name, "start_frame": start, "frames": frames}
    told = {"fps": line.fps, "size": list(line.size), "even": True, "turned": line.turned}
    kinds = {"codec": line.codec, "pixels": line.pixels, "remarks": [], "whole": False}
    kinds["subjects"] = [{"word": "dog"}]
    return {**found, **told, **kinds, **more}


@pytest.fixture
def source(tmp_path):
    video = blobs.draw(40, [("dog", [(2 * f, 10, 16, 16) for f in range(40)])], (48, 96))
    return blobs.write(tmp_path / "a.mp4", video)


@pytest.fixture
def through_rgb(monkeypatch):
    """The frames that went through RGB."""
    made, scaler = [], timeline.scaler

    def counted(side):
        scale = scaler(side)
        return lambda frame: made.append(frame) or scale(frame)

    monkeypatch.setattr(timeline, "scaler", counted)
    return made


def shown(path, numbers):
    return np.stack([frame for _, frame in timeline.frames(path, numbers)]).astype(int)


def test_frames_stay_as_they_are(source, tmp_path, through_rgb):
    made = clips.clip(row(source, 7, 30), tmp_path, tmp_path, Clips(quality=1))
    assert made["clip"] == "clips/scene.mp4" and not through_rgb
    path = tmp_path / made["clip"]
    line = timeline.timeline(path)
    assert len(line.stamps) == 30 and line.even and line.fps == row(source, 7, 30)["fps"]
    off = shown(path, range(30)) - shown(source, range(7, 37))
    assert np.abs(off).mean() < 1 and abs(off.mean()) < 0.3
    assert np.abs(shown(path, range(30)) - shown(source, range(30))).mean() > 2  # other frames
    with av.open(str(path)) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1


def test_frames_of_other_sizes_or_colours_are_converted(source, tmp_path, through_rgb, monkeypatch):
    made = clips.clip(row(source, 7, 12), tmp_path, tmp_path, Clips(side=24))
    assert timeline.timeline(tmp_path / made["clip"]).size == (24, 48)
    assert len(through_rgb) == 12
    monkeypatch.setattr(clips, "_ITU709", -1)  # as if its colours were another kind's
    made = clips.clip(row(source, 7, 12), tmp_path, tmp_path, Clips())
    assert len(through_rgb) == 24
    off = shown(tmp_path / made["clip"], range(12)) - shown(source, range(7, 19))
    assert np.abs(off).mean() < 4


def test_a_scene_without_anybody_needs_no_clip(source, tmp_path):
    made = clips.clip(row(source, 7, 12, subjects=[]), tmp_path, tmp_path, Clips())
    assert "clip" not in made and not (tmp_path / "clips").exists()
    assert "clip" in clips.clip(row(source, 7, 12), tmp_path, tmp_path, Clips(x264=""))
