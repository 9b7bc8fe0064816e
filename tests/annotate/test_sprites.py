"""Clips of the sprites world as videos with captions beside them: the truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from alchemint_jax import media
from alchemint_jax.annotate.engine import run_shard
from alchemint_jax.annotate.rows import read_shard
from alchemint_jax.annotate.sources import find_sources
from alchemint_jax.annotate.tools import Tools, all_stages
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.worlds.sprites import World, sample_clip
from studies.sprite_eyes import (
    SETTINGS,
    UPSCALE,
    SpriteDetector,
    SpriteEmbedder,
    SpriteSegmenter,
    by_color,
)

WORLD = World(similar=0.0)
COUNT = 5


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    folder, out = tmp_path_factory.mktemp("sprites"), tmp_path_factory.mktemp("out")
    truth = {}
    for index in itertools.count():
        clip = sample_clip(index, 0, WORLD)
        if not by_color(clip):
            continue  # this detector tells them apart by nothing else
        if len(truth) == COUNT:
            break
        media.write_video(folder / f"{index}.mp4", clip.video, WORLD.fps, upscale=UPSCALE)
        (folder / f"{index}.txt").write_text(clip.scene.caption)
        truth[f"{index}.mp4"] = clip.scene
    base, rows = find_sources(folder)
    eyes = Perceivers(SpriteDetector(), SpriteSegmenter(), SpriteEmbedder(), ContentShots(60.0))
    tools = Tools(SETTINGS, eyes)
    stages = all_stages(SETTINGS, base, out, tools)
    until = [stage.name for stage in stages].index("pictures") + 1
    try:
        run_shard(stages[:until], out, 0, ("", rows))
    finally:
        tools.close()
    return truth, read_shard(out / "pictures" / "part-00000.jsonl")


def test_every_span_is_right_to_one_frame(annotated):
    truth, rows = annotated
    assert [row["source"] for row in rows] == sorted(truth)
    for row in rows:
        assert row["status"] == "ok", row["error"]
        found = {subject["word"]: subject["frames"] for subject in row["subjects"]}
        scene = truth[row["source"]]
        assert set(found) == {subject.word for subject in scene.subjects}
        for subject in scene.subjects:
            assert len(found[subject.word]) == len(subject.spans)
            assert np.abs(np.array(found[subject.word]) - np.array(subject.spans)).max() <= 1


def test_pictures_are_from_frames_that_show_them_and_from_several(annotated):
    _, rows = annotated
    for row in rows:
        for subject in row["subjects"]:
            frames = {picture["frame"] for picture in subject["pictures"]}
            assert all(any(s <= f < e for s, e in subject["frames"]) for f in frames)
            length = sum(e - s for s, e in subject["frames"])
            assert len(frames) >= min(2, length // 8)
