"""The study of how fast videos are annotated: how spans are compared, and its long film."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax import media
from alchemint_jax.annotate.timeline import frames, timeline
from studies import annotating

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_spans_of_two_annotations_are_compared():
    first = {"a": [[[0, 10]], [[5, 9], [20, 30]]], "b": [[[3, 8]]]}
    second = {"a": [[[0, 12]], [[5, 9], [20, 33]]], "b": []}
    found = annotating.apart(first, second)
    assert found == {"subjects": 3, "alike": 2, "within_two_frames": 1, "worst": 3}
    assert annotating.apart(first, first)["within_two_frames"] == 3


def test_spans_are_read_from_scenes(tmp_path):
    subjects = [{"frames": [[4, 9]]}, {"frames": [[0, 2]]}]
    (tmp_path / "scenes.jsonl").write_text(json.dumps({"id": "x", "subjects": subjects}) + "\n")
    assert annotating.spans(tmp_path) == {"x": [[[0, 2]], [[4, 9]]]}


def test_a_long_film_is_a_short_one_over_and_over(tmp_path, monkeypatch):
    monkeypatch.setattr(annotating, "SMALL", (32, 48))
    video = np.random.default_rng(0).integers(0, 255, (6, 1, 1, 3), np.uint8)
    media.write_video(tmp_path / "a.mp4", np.tile(video, (1, 32, 48, 1)), 30)
    path = annotating.repeated(tmp_path / "a.mp4", tmp_path / "long.mp4", 0.05)
    line = timeline(path)
    assert (len(line.stamps), line.fps, line.size) == (18, annotating.SLOW, (32, 48)) and line.even
    made = [frame[0, 0].astype(int) for _, frame in frames(path, range(18))]
    assert np.abs(np.stack(made) - np.tile(video[:, 0, 0], (3, 1))).max() < 12
    assert [one.name for one in tmp_path.iterdir() if "part" in one.name] == []


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        annotating.main(["--work", str(tmp_path / "work"), "--out", str(tmp_path)])
    assert "error" in capsys.readouterr().err and not (tmp_path / "work").exists()


def test_the_guide_says_what_annotating_takes():
    found = json.loads((DOCS / "results" / "annotating.json").read_text())
    page = " ".join((DOCS / "guides" / "annotate.md").read_text().split())
    made, apart = found["annotating"], found["apart"]
    assert f"took {made['seconds']:.1f} s" in page
    assert f"{made['times_real_time']:.1f} times as fast as they play" in page
    assert f"All {apart['subjects']} subjects" in page and apart["worst"] == 0
    assert f"{found['decoding']['frames_per_processor_second']:.0f} frames of 480 x 854" in page
    assert f"{found['packing']['megabytes_per_second']:.0f} MB in a second" in page


def test_the_guide_says_what_a_long_film_takes():
    found = json.loads((DOCS / "results" / "annotating_lengths.json").read_text())
    page = " ".join((DOCS / "guides" / "annotate.md").read_text().split())
    short, long = found["lengths"]
    assert f"Of a film of {short['minutes']} minutes" in page
    assert f"process took {short['largest_process_mib']:.0f} MiB" in page
    told = f"{long['minutes']} minutes {long['largest_process_mib']:.0f} MiB"
    assert f"{told} (and {long['processor_seconds']:.0f} processor seconds)" in page
    assert long["largest_process_mib"] < 1.25 * short["largest_process_mib"]
    assert long["minutes"] == 6 * short["minutes"] and long["scenes"] > 5 * short["scenes"]
