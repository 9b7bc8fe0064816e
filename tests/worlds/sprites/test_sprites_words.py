"""Clips to be drawn from words alone: captions say all that there is, and records hold them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from alchemint_jax.data.clips import open_split
from alchemint_jax.errors import DataError
from alchemint_jax.worlds.sprites import shapes, write_sprites
from alchemint_jax.worlds.sprites.world import TONES, World, sample_clip


def test_captions_name_every_subject_and_the_background():
    clips = [sample_clip(i, 5, World.of_words(1)) for i in range(60)]
    assert {len(clip.looks) for clip in clips} == {0, 1}
    for clip in clips:
        words = [f"{look.color} {look.shape}" for look in clip.looks]
        assert [subject.word for subject in clip.scene.subjects] == words
        before, _, tone = clip.scene.caption.removesuffix(" background").rpartition(" ")
        assert tone in TONES and before.endswith("a")
        assert all(f"a {word} " in before for word in words)
        colors = {color for color in shapes.COLORS if color in before}
        assert colors == {look.color for look in clip.looks}
        if not words:
            assert before == "a"
            assert clip.video.std(axis=-1).max() < 25, "nobody is named, and somebody is there"
        else:
            assert clip.video.std(axis=-1).max() > 40


def test_who_is_named_does_not_depend_on_how_long_it_is():
    whole, short = World.of_words(), World.of_words(5)
    assert (whole.frames, short.frames, whole.interval) == (33, 5, World().interval)
    assert {whole.max_subjects, short.max_subjects} == {1}
    assert not World().worded and dataclasses.replace(World(), worded=True) != World()


def test_records_hold_what_captions_say(tmp_path):
    out = write_sprites(tmp_path / "words", 3, seed=1, validation=1, frames=1, worded=True)
    records = open_split(out, "train")
    drawn = [sample_clip(i, 2**20 + 2, World.of_words(1)) for i in range(3)]
    assert len(records) == len(drawn)
    for number, clip in enumerate(drawn):
        record = records[number]
        assert record["caption"] == clip.scene.caption
        np.testing.assert_array_equal(record["video"], clip.video)
    assert write_sprites(out, 3, seed=1, validation=1, frames=1, worded=True) == out
    with pytest.raises(DataError, match="another dataset"):
        write_sprites(out, 3, seed=1, validation=1, frames=1)
    with pytest.raises(DataError, match="worded clips have no events"):
        write_sprites(tmp_path / "both", 3, events=True, worded=True)
