"""A fine-tune of a Wan pipeline, exported and converted: diffusers makes the same of it."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import reference_pipeline as reference
from diffusers import WanPipeline

from alchemint_jax import weights
from alchemint_jax.models.layers import unboxed
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.sampling.settings import save
from alchemint_jax.sampling.wan_settings import wan_settings
from alchemint_jax.scene import Clock, Scene


def test_diffusers_runs_what_we_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base, ours, theirs = (tmp_path / name for name in ("base", "ours", "theirs"))
    reference.text_to_video(base)
    # As training exports: our format, moved weights, places for references, our own settings.
    module, params = weights.load(base, "transformer")
    config = dataclasses.replace(module.config, slots=2)
    fresh = type(module)(config).init(jax.random.key(0), **type(module)(config).example_inputs())
    subjects = unboxed(fresh["params"]["subjects"])
    params = jax.tree.map(lambda x: x * 1.1, params) | {"subjects": subjects}
    weights.save(ours, "transformer", config, params)
    for component in ("vae", "text_encoder"):
        module, values = weights.load(base, component)
        weights.save(ours, component, module.config, values)
    weights.carry(base, ours)
    settings = wan_settings(base, unit=16)
    save(ours, settings)
    weights.convert(ours, theirs)

    pipe = Pipeline.load(theirs)
    assert pipe.models.dit.config.slots == 2 and pipe.settings == settings
    z = reference.noise(1)
    clock, size = Clock(pipe.fps, reference.FRAMES, 4), (reference.HEIGHT, reference.WIDTH)
    found = pipe.render(
        [Scene("clip", reference.PROMPTS[0], clock, size=size)],
        steps=reference.STEPS,
        guidance=Guidance(text=5.0, image=0.0, both=0.0),
        negative_prompt=reference.NEGATIVE,
        noise=z,
    )
    wanted = reference.generate(WanPipeline.from_pretrained(theirs), z)
    assert np.abs(found / 255.0 - wanted).max() <= 0.5 / 255 + 1e-3
