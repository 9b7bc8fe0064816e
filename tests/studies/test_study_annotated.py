"""The study of annotated sprites: its videos, and what it refuses."""

from __future__ import annotations

import pytest

from alchemint_jax.annotate.words import choose, extract
from alchemint_jax.worlds.sprites import sample_clip
from studies import annotated_sprites, sprite_eyes


def test_captions_name_every_subject_by_its_colour_and_shape():
    clips = [clip for clip in map(sample_clip, range(60)) if sprite_eyes.by_color(clip)]
    assert 20 < len(clips) < 60
    for clip in clips:
        caption, words = sprite_eyes.colored(clip)
        kept, _ = choose(caption, extract(caption), 6)
        assert {entity["word"] for entity in kept} == {*words}
        assert len({*words}) == len(clip.looks)


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
