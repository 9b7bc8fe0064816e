"""Whole pipelines in the manner of Wan2.2, live against diffusers, from the same noise."""

from __future__ import annotations

import numpy as np
import pytest
import reference_wan22 as reference
from reference_pipeline import NEGATIVE, PROMPTS

from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.scene import Clock, Scene


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def guided(scale):
    return Guidance(text=scale, image=0.0, both=0.0)


@pytest.mark.parametrize(
    ("name", "count", "pictures"),
    [
        ("ti2v", 2, 0),
        ("ti2v", 1, 1),
        ("pair", 2, 0),
        ("pair_i2v", 1, 1),
        ("pair_i2v", 2, 2),
    ],
)
def test_frames(tmp_path, name, count, pictures):
    theirs = reference.pipeline(name)
    theirs.save_pretrained(tmp_path, safe_serialization=True)
    z, given = reference.noise(name, count), reference.pictures()[:pictures]
    wanted = reference.generate(theirs, z, given if pictures else None)
    pipe = Pipeline.load(tmp_path)
    clock, size = Clock(pipe.fps, reference.FRAMES, 4), (reference.HEIGHT, reference.WIDTH)
    scenes = [Scene("clip", p, clock, keyframes=given, size=size) for p in PROMPTS[:count]]
    high = guided(reference.HIGH)
    found = pipe.render(
        scenes,
        steps=reference.STEPS,
        guidance=high if name == "ti2v" else (guided(reference.LOW), high),
        negative_prompt=NEGATIVE,
        noise=z,
    )
    assert wanted.std() > 0.05
    assert np.abs(found / 255.0 - wanted).max() <= 0.5 / 255 + 1e-3
