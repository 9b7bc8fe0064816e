"""Whole pipelines: diffusers saves one, both generate from the same noise, frames are compared."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import reference_pipeline as reference

from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.sampling.sample import sample_latents
from alchemint_jax.scene import Clock, Scene


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def close(pipe, z, wanted, keyframes=()):
    clock, size = Clock(pipe.fps, reference.FRAMES, 4), (reference.HEIGHT, reference.WIDTH)
    scenes = [
        Scene("clip", prompt, clock, keyframes=keyframes, size=size)
        for prompt in reference.PROMPTS[: len(z)]
    ]
    conditions = pipe.conditions(scenes, reference.NEGATIVE)
    plan = pipe.settings.plan(reference.STEPS, Guidance(text=5.0, image=0.0, both=0.0))
    latents = sample_latents(pipe.models, conditions, jnp.asarray(z), plan)
    params = {"params": pipe.models.vae_params}
    found = pipe.models.vae.apply(params, latents, method="decode") / 2 + 0.5
    assert wanted.std() > 0.1
    assert np.abs(found - wanted).max() <= 1e-3


@pytest.mark.parametrize("count", [1, 2])
def test_text_to_video(tmp_path, count):
    theirs = reference.text_to_video(tmp_path)
    z = reference.noise(count)
    close(Pipeline.load(tmp_path), z, reference.generate(theirs, z))


def test_first_and_last_frame_to_video(tmp_path):
    theirs = reference.frames_to_video(tmp_path)
    z = reference.noise(1)
    close(Pipeline.load(tmp_path), z, reference.generate(theirs, z), reference.pictures())
