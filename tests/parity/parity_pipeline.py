"""Whole pipelines: diffusers saves one, both generate from the same noise, frames are compared."""

from __future__ import annotations

import numpy as np
import pytest
import reference_pipeline as reference

from alchemint_jax.sampling import Guidance, Pipeline


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def close(pipe, z, wanted, keyframes=None):
    count = len(z)
    found = pipe.render(
        reference.PROMPTS[:count],
        np.zeros((count, 0, reference.HEIGHT, reference.WIDTH, 3), np.uint8),
        [[]] * count,
        [[]] * count,
        frames=reference.FRAMES,
        steps=reference.STEPS,
        guidance=Guidance(text=5.0, image=0.0, both=0.0),
        negative_prompt=reference.NEGATIVE,
        noise=z,
        keyframes=keyframes,
    )
    assert wanted.std() > 0.1
    # Ours are whole numbers: within half a level, and 1e-3 of the range besides.
    assert np.abs(found / 255.0 - wanted).max() <= 0.5 / 255 + 1e-3


@pytest.mark.parametrize("count", [1, 2])
def test_text_to_video(tmp_path, count):
    theirs = reference.text_to_video(tmp_path)
    z = reference.noise(count)
    close(Pipeline.load(tmp_path), z, reference.generate(theirs, z))


def test_first_and_last_frame_to_video(tmp_path):
    theirs = reference.frames_to_video(tmp_path)
    z = reference.noise(1)
    close(Pipeline.load(tmp_path), z, reference.generate(theirs, z), reference.pictures()[None])
