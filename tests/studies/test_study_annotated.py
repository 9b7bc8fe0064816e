"""The study of annotated sprites: its videos, and what it refuses."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.annotate.words import choose, extract
from alchemint_jax.data.command import add_arguments, encoding
from alchemint_jax.worlds.sprites import sample_clip
from studies import annotated_sprites, sprite_eyes

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_captions_name_every_subject():
    clips = [clip for clip in map(sample_clip, range(60)) if sprite_eyes.by_color(clip)]
    assert 20 < len(clips) < 60
    for clip in clips:
        caption = clip.scene.caption
        kept, _ = choose(caption, extract(caption), 6)
        assert {entity["word"] for entity in kept} == {one.word for one in clip.scene.subjects}


def test_a_video_goes_there_and_back():
    clip = next(annotated_sprites.films(1))
    video, caption, spans = sprite_eyes.there_and_back(clip)
    length = len(clip.video)
    assert np.array_equal(video[:length], clip.video) and np.array_equal(video, video[::-1])
    assert not re.search("glides (left|right|up|down)", caption)
    for subject, own in zip(clip.scene.subjects, spans, strict=True):
        assert sum(e - s for s, e in own) == 2 * sum(e - s for s, e in subject.spans)
        assert own[0][0] == subject.spans[0][0] and own[-1][1] == 2 * length - own[0][0]


def test_halves_of_a_video_have_its_frames_and_spans():
    clip = next(annotated_sprites.films(1))
    video, caption, _ = sprite_eyes.there_and_back(clip)
    first, second = annotated_sprites.halves(1)
    assert np.array_equal(np.concatenate([first[1], second[1]]), video)
    assert first[0].caption == second[0].caption == caption
    length = len(clip.video)
    for subject, one, other in zip(
        clip.scene.subjects, first[0].subjects, second[0].subjects, strict=True
    ):
        assert one.spans == subject.spans and one.spans
        assert np.array_equal(other.pictures, subject.pictures)
        assert [*other.spans] == [(length - e, length - s) for s, e in reversed(subject.spans)]


def test_pictures_for_training_are_sprites_alone_in_their_colours():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    asked, _ = encoding(parser.parse_args(annotated_sprites.PICTURES))
    assert asked.kinds == (("segment", 1.0),) and asked.variation.hue == 0


def test_spans_are_counted(tmp_path):
    clips = list(annotated_sprites.films(2))
    lines = []
    for number, clip in enumerate(clips):
        spans = [list(map(list, one)) for one in sprite_eyes.there_and_back(clip)[2]]
        spans[0][0][0] += 1 if number else 0
        words = [subject.word for subject in clip.scene.subjects]
        subjects = [{"word": w, "frames": f} for w, f in zip(words, spans, strict=True)]
        lines.append({"source": f"{number:05}.mp4", "status": "ok", "subjects": subjects})
    many = sum(len(clip.looks) for clip in clips)
    lines[0]["subjects"] = lines[0]["subjects"][1:]
    path = tmp_path / "scenes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = annotated_sprites.check_spans(path, 2)
    assert (found["annotated"], found["subjects"], found["missed"]) == (2, many, 1)
    assert found["spans"] == found["within_one_frame"] == found["exact"] + 1 > 1
    assert found["worst"] == 1


def test_videos_that_are_there_are_not_written_again(tmp_path):
    annotated_sprites.film(tmp_path, 2)
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(files) == {"00000.mp4", "00000.txt", "00001.mp4", "00001.txt"}
    (tmp_path / "00001.txt").unlink()  # written after its video
    annotated_sprites.film(tmp_path, 2)
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {name for name in files if files[name] != again[name]} == {"00001.mp4", "00001.txt"}


def test_a_result_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path, capsys):
    work = tmp_path / "work"
    with pytest.raises(SystemExit):
        annotated_sprites.main(["--work", str(work), "--out", str(tmp_path)])
    assert "error" in capsys.readouterr().err and not work.exists()


def test_the_guide_says_what_was_found():
    found = json.loads((DOCS / "results" / "annotated_sprites.json").read_text())
    page = " ".join((DOCS / "guides" / "train_on_videos.md").read_text().split())
    spans, references = found["spans"], found["references"]
    assert f"{spans['exact']} of {spans['spans']} spans are right to the frame" in page
    assert f"{spans['within_one_frame']} to one frame, and the worst is {spans['worst']}" in page
    assert f"{spans['missed']} of {spans['subjects']} subjects" in page
    assert f"{references['outside']} of {sum(references.values())} subjects of windows" in page
    rows = [found["variants"][arm] for arm in annotated_sprites.ARMS]
    for row, digits in [*[(row, 2) for row in rows], (found["differences"], 3)]:
        told = [
            f"{one['mean']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"
            for one in (row["t_iou"], row["identity"])
        ]
        assert f"| {' | '.join(told)} |" in page
    absent = [f"{row['absence']['mean']:.2f}" for row in rows]
    assert f"{absent[0]} and {absent[1]}" in page
