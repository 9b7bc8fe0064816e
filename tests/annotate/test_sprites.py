"""Clips of the sprites world as videos with captions beside them: the truth is known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from blobs import BlobEmbedder, BlobSegmenter

from alchemint_jax import media
from alchemint_jax.annotate import load_settings
from alchemint_jax.annotate.engine import run_shard
from alchemint_jax.annotate.rows import read_shard
from alchemint_jax.annotate.sources import find_sources
from alchemint_jax.annotate.tools import Tools, all_stages
from alchemint_jax.perceive import Detections
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.worlds.sprites import World, sample_clip, shapes
from alchemint_jax.worlds.sprites.appearance import COLOR_NAMES, hues

WORLD = World(similar=0.0)
UPSCALE = 4
COUNT = 5


@dataclass(frozen=True)
class SpriteDetector:
    """Is told the look of each word; the score is the share of it that is in the picture."""

    looks: dict
    vocabulary: None = None

    def detect(self, video, words):
        found, _ = hues(video[:, UPSCALE // 2 :: UPSCALE, UPSCALE // 2 :: UPSCALE])
        return [self._frame(found[:, i], words) for i in range(len(video))]

    def _frame(self, hue, words):
        rows = []
        for number, word in enumerate(words):
            look = self.looks[tuple(sorted(words))][word]
            y, x = np.nonzero(hue[COLOR_NAMES.index(look.color)])
            full = shapes.full_area(look.shape, WORLD.radius)
            if len(y) > 8:
                box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) * UPSCALE
                rows.append((*box, min(1.0, len(y) / full), number))
        found = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))


SETTINGS = load_settings(
    None,
    # A sprite is on screen from a third of its area on; every frame of so few is searched.
    [
        "detect.every=0.1",
        "detect.floor=0.3",
        "track.start=0.3",
        "track.sure=0.3",
        "track.border=0",
        "track.shortest=0",
        "presence.on=0.3",
        "presence.off=0.3",
        "presence.gap=0",
        "presence.inside=0",
        "presence.least=0",
        "track.alike=0.5",
        "track.overlap=0.05",
    ],
)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    folder, out = tmp_path_factory.mktemp("sprites"), tmp_path_factory.mktemp("out")
    truth, looks = {}, {}
    for index in itertools.count():
        clip = sample_clip(index, 0, WORLD)
        colors = [look.color for look in clip.looks]
        if len({*colors}) < len(colors):
            continue  # this detector knows them by nothing else
        if len(truth) == COUNT:
            break
        media.write_video(folder / f"{index}.mp4", clip.video, WORLD.fps, upscale=UPSCALE)
        (folder / f"{index}.txt").write_text(clip.scene.caption)
        truth[f"{index}.mp4"] = clip.scene
        words = [subject.word for subject in clip.scene.subjects]
        looks[tuple(sorted(words))] = dict(zip(words, clip.looks, strict=True))
    base, rows = find_sources(folder)
    eyes = Perceivers(SpriteDetector(looks), BlobSegmenter(), BlobEmbedder(), ContentShots(60.0))
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
