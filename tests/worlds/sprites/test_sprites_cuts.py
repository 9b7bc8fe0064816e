"""Clips with cuts: all of a clip but its shots is as it was, and a finder of shots finds them."""

from __future__ import annotations

import dataclasses

import numpy as np

from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.worlds.sprites import cuts
from alchemint_jax.worlds.sprites.world import World, sample_clip

PLAIN = World()  # what happens to subjects depends on how much of them is seen, and so on cuts
CUT = dataclasses.replace(PLAIN, cuts=True)


def test_cuts_change_what_is_seen_behind_them_and_nothing_that_is_said():
    pairs = [(sample_clip(i, 5, PLAIN), sample_clip(i, 5, CUT)) for i in range(12)]
    counts = [len(other.scene.cuts) for _, other in pairs]
    assert {0, 1, 2} == set(counts)
    for clip, other in pairs:
        first = (*other.scene.cuts, len(clip.video))[0]
        np.testing.assert_array_equal(clip.video[:first], other.video[:first])
        assert np.abs(clip.video[first:].astype(int) - other.video[first:]).sum() > 0 or (
            not other.scene.cuts
        )
        assert clip.scene.caption == other.scene.caption and clip.looks == other.looks
        assert [s.word for s in clip.scene.subjects] == [s.word for s in other.scene.subjects]
        assert clip.scene.cuts == ()
        found = [start for start, _ in ContentShots(threshold=20, reach=4).find(other.video)[1:]]
        assert tuple(found) == other.scene.cuts


def test_shots_are_long_enough_and_begin_with_latent_frames():
    drawn = [cuts.draw_cuts(np.random.default_rng(i), PLAIN.clock) for i in range(200)]
    for found in drawn:
        ends = np.array([0, *found, 33])
        assert (np.diff(ends) >= 8).all()
        assert all(at % 4 == 1 for at in found)
    assert {9, 13, 17, 21, 25} == {at for found in drawn for at in found}
    assert (
        cuts.draw_cuts(np.random.default_rng(0), World.short(9).clock) == ()
    )  # too short for two shots
