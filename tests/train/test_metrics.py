from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

from alchemint_jax import places
from alchemint_jax.errors import AlchemintError
from alchemint_jax.train import MetricWriter, read_metrics


def test_resume_drops_later_lines_and_a_torn_one(tmp_path):
    with MetricWriter(tmp_path) as writer:
        for step in (1, 2, 3, 4):
            writer.write(step, {"loss": step / 2})
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # killed while writing
    (tmp_path / ".0123456789ab.tmp").write_bytes(b"half a page")
    with MetricWriter(tmp_path, step=2) as writer:
        writer.write(3, {"loss": 9.0})
    assert [(x["step"], x["loss"]) for x in read_metrics(path)] == [(1, 0.5), (2, 1.0), (3, 9.0)]
    assert not [*tmp_path.glob("*.tmp")]


def test_lines_are_strict_json(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.write(1, {"loss": float("nan"), "scale": np.float32(2)})

    def refuse(name):
        raise AssertionError(name)

    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert line["loss"] is None and line["scale"] == 2.0


def test_inactive_writer_leaves_no_trace(tmp_path):
    with MetricWriter(tmp_path / "none", active=False) as writer:
        writer.write(1, {"loss": 1.0})
        writer.write_videos(1, {"a": np.zeros((5, 16, 16, 3), np.uint8)}, 8.0)
    assert not (tmp_path / "none").exists()


def test_videos_are_named_by_step(tmp_path, monkeypatch):
    written = {}
    media = types.ModuleType("alchemint_jax.media")
    media.write_video = lambda path, video, fps: written.update({path.name: (video.shape, fps)})
    monkeypatch.setitem(sys.modules, "alchemint_jax.media", media)
    monkeypatch.setattr("alchemint_jax.media", media, raising=False)
    with MetricWriter(tmp_path) as writer:
        writer.write_videos(123, {"red disc/1": np.zeros((5, 16, 16, 3), np.uint8)}, 8.0)
    assert written == {"step_000123_red_disc_1.mp4": ((5, 16, 16, 3), 8.0)}


def test_damaged_lines_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\x80{"st\n{"step": 2}\n{"step"')
    assert [line["step"] for line in read_metrics(path)] == [1, 2]


def test_a_run_in_a_bucket_has_its_lines_there_once_flushed(bucket, faults):
    path = places.place(bucket) / "metrics.jsonl"

    def lines():
        return [json.loads(line)["step"] for line in path.read_text().splitlines()]

    with MetricWriter(bucket) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"loss": step / 2})
        assert not path.exists()
        writer.flush()
        assert lines() == [1, 2, 3]
        writer.write(4, {"loss": 2.0})
    assert lines() == [1, 2, 3, 4]
    with pytest.raises(AlchemintError, match="permission"), MetricWriter(bucket, 2) as writer:
        writer.write(3, {"loss": 9.0})
        faults(403, "metrics")
    faults(0)
    with pytest.raises(KeyError, match="says more"), MetricWriter(bucket, 2):
        faults(403, "metrics")
        raise KeyError("says more")
    faults(0)
    with MetricWriter(bucket, step=2) as writer:
        writer.write(3, {"loss": 9.0})
    assert lines() == [1, 2, 3]
