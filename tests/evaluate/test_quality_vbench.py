"""A folder for VBench, and what VBench writes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.evaluate.quality import export_vbench, read_vbench
from alchemint_jax.media import read_video, write_video
from alchemint_jax.scene import Clock, Scene

VIDEO = np.full((5, 32, 48, 3), 90, np.uint8)


def scene(name, caption="a ball"):
    return Scene(name, caption, Clock(fps=8, frames=5, stride=4))


def test_videos_are_named_by_id_with_their_captions(tmp_path):
    source = tmp_path / "given.mp4"
    write_video(source, VIDEO, 8)
    out = tmp_path / "a folder"
    command = export_vbench([(scene("one"), VIDEO), (scene("two", "un café"), source)], out)
    assert sorted(p.name for p in (out / "videos").iterdir()) == ["one.mp4", "two.mp4"]
    assert (out / "videos" / "two.mp4").read_bytes() == source.read_bytes()
    assert read_video(out / "videos" / "one.mp4")[0].shape == VIDEO.shape
    prompts = json.loads((out / "prompts.json").read_text("utf-8"))
    assert prompts == {"one.mp4": "a ball", "two.mp4": "un café"}
    assert f"--videos_path '{out / 'videos'}' --mode custom_input" in command
    again = export_vbench([(scene("one"), VIDEO), (scene("two", "un café"), source)], out)
    assert again == command


@pytest.mark.parametrize("name", ["", "a/b", "boards.jsonl:3/x", "..", ".hidden", "a\\b"])
def test_an_id_that_names_no_file_is_refused(name, tmp_path):
    with pytest.raises(DataError, match="cannot be the name of a file"):
        export_vbench([(scene(name), VIDEO)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(DataError, match="one: two clips have this id"):
        export_vbench([(scene("one"), VIDEO)] * 2, tmp_path / "out")
    assert not (tmp_path / "out" / "prompts.json").exists()
    with pytest.raises(DataError, match="there are no clips"):
        export_vbench([], tmp_path / "none")
    with pytest.raises(DataError, match="missing.mp4: cannot be read"):
        export_vbench([(scene("one"), tmp_path / "missing.mp4")], tmp_path / "out")
    with pytest.raises(DataError, match="clip.mov: VBench takes mp4"):
        export_vbench([(scene("one"), tmp_path / "clip.mov")], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(AlchemintError, match="is a file, not a folder"):
        export_vbench([(scene("one"), VIDEO)], tmp_path / "file")


def results(path, **dimensions):
    path.write_text(json.dumps(dimensions))


def row(name, value):
    return {"video_path": f"/somewhere/videos/{name}.mp4", "video_results": value}


def test_scores_come_back_by_id(tmp_path):
    results(
        tmp_path / "results_2026-01-01_eval_results.json",
        subject_consistency=[0.9, [row("one", 0.95), row("two", 0.85)]],
        dynamic_degree=[0.5, [row("one", True), row("two", False)]],
    )
    scores = read_vbench(tmp_path)
    assert scores.overall == {"subject_consistency": 0.9, "dynamic_degree": 0.5}
    assert scores.videos == {
        "one": {"subject_consistency": 0.95, "dynamic_degree": 1.0},
        "two": {"subject_consistency": 0.85, "dynamic_degree": 0.0},
    }
    assert read_vbench(tmp_path / "results_2026-01-01_eval_results.json") == scores


def test_the_newest_of_a_dimension_counts(tmp_path):
    old = results(
        tmp_path / "results_2026-01-01_eval_results.json",
        subject_consistency=[0.1, [row("one", 0.1), row("gone", 0.1)]],
        imaging_quality=[0.7, [row("one", 70.0)]],
    )
    del old
    results(
        tmp_path / "results_2026-02-01_eval_results.json",
        subject_consistency=[0.9, [row("one", 0.9)]],
    )
    scores = read_vbench(tmp_path)
    assert scores.overall == {"subject_consistency": 0.9, "imaging_quality": 0.7}
    assert scores.videos == {"one": {"imaging_quality": 70.0, "subject_consistency": 0.9}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a table of dimensions was expected"),
        ('{"a": 3}', "a: a score and a list"),
        ('{"a": [1, [{"video_path": "x.mp4"}]]}', "'video_results'"),
        ('{"a": ["high", []]}', "a: a score and a list"),
    ],
)
def test_what_vbench_has_not_written_is_refused(text, message, tmp_path):
    file = tmp_path / "x_eval_results.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_vbench(file)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="holds no .*eval_results.json"):
        read_vbench(tmp_path)
    with pytest.raises(DataError, match="x.json: cannot be read"):
        read_vbench(tmp_path / "x.json")
