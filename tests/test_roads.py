"""The roads that docs/roads.md draws are those that the code takes, hop by hop."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import alchemint_jax
from alchemint_jax.evaluate.scores import score
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.rotary import WeRope
from alchemint_jax.sampling import Pipeline, conditions, pipeline, settings
from alchemint_jax.sampling.sample import Models
from alchemint_jax.sampling.texts import Texts
from alchemint_jax.scene import Spans, Storyboard
from alchemint_jax.worlds.sprites import SpritesTracker, sprites_cases

pytestmark = pytest.mark.slow

PACKAGE = Path(alchemint_jax.__file__).parent
ROOT = PACKAGE.parent
HOP = re.compile(r"^\| (\d+) \| (\S+) \| (\S+) \| .+ \|$", re.M)


def road(heading: str) -> list[tuple[str, str]]:
    """File and function of each hop of a section of the page."""
    page = (ROOT / "docs" / "roads.md").read_text("utf-8")
    hops = HOP.findall(page.split(f"## {heading}")[1].split("\n## ")[0])
    assert [int(number) for number, *_ in hops] == list(range(1, len(hops) + 1))
    return [(file, name) for _, file, name in hops]


class Traced:
    """Calls of some functions of the package: their arguments and results, in order of return."""

    def __init__(self, hops: list[tuple[str, str]]) -> None:
        self.hops = {(str(PACKAGE / file), name) for file, name in hops}
        self.found: list[tuple[str, dict, object]] = []

    def __enter__(self) -> Traced:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame, event, result) -> None:
        code = frame.f_code
        if event == "return" and (code.co_filename, code.co_qualname) in self.hops:
            self.found.append((code.co_qualname, dict(frame.f_locals), result))

    def order(self) -> list[str]:
        """Names by their first return."""
        return list(dict.fromkeys(name for name, *_ in self.found))

    def first(self, name: str) -> tuple[dict, object]:
        return next((given, result) for found, given, result in self.found if found == name)


@pytest.fixture
def pipe(monkeypatch):
    """The real pipeline and transformer; nothing is compiled, and no other network runs."""
    config = DiTConfig(
        dim=24, n_heads=2, n_layers=1, ffn_dim=16, in_channels=2, out_channels=2, text_dim=8,
        freq_dim=8, slots=2, scheme=WeRope(),
    )  # fmt: skip
    vae = VAEConfig(
        base_dim=4, dim_mult=(1, 1, 1), z_dim=2, temporal_downsample=(True, True),
        latents_mean=(0.0,) * 2, latents_std=(1.0,) * 2,
    )  # fmt: skip
    dit = DiT(config)
    models = Models(dit, dit.abstract_params(), VAE(vae), {})

    def states(self, *texts):
        return [(jnp.zeros((len(t), n, 8)), np.ones((len(t), n), bool)) for t, n in texts]

    def sample(models, conditions, noise, plan, *others):
        everything = jnp.ones(len(noise), bool)
        text, extra = model_inputs(conditions, everything, everything)
        time = jnp.zeros(len(noise))
        jax.eval_shape(
            lambda p: dit.apply({"params": p}, noise, time, text, **extra), models.dit_params
        )
        return noise

    def encode(params, pictures, *, vae):
        return jnp.zeros((*pictures.shape[:2], 4, 4, 2))

    monkeypatch.setattr(conditions, "encode_references", encode)
    monkeypatch.setattr(pipeline, "sample_latents", sample)
    video = np.zeros((1, 9, 16, 16, 3), np.uint8)
    monkeypatch.setattr(pipeline, "decode", lambda models, latents: video)
    monkeypatch.setattr(Texts, "states", states)
    monkeypatch.setattr(Texts, "excess", lambda *_: None)
    monkeypatch.setattr(
        Texts, "words", lambda _, texts, words, slots, n: np.zeros((len(texts), slots, n), bool)
    )
    return Pipeline(models, Texts.__new__(Texts), settings.Settings(size=(16, 16), max_frames=9))


def test_from_a_file_to_attention(pipe):
    hops = road("From a file to attention")
    assert len(hops) <= 7
    # Gains are a program by themselves, which else would be given tracers of what it is given.
    with Traced(hops) as traced, jax.disable_jit():
        board = Storyboard.load(ROOT / "examples" / "two_subjects.yaml")
        pipe.generate(shortened(board))
    assert traced.order() == [name for _, name in hops]
    scene = traced.first("Storyboard.scene")[1]
    (given,) = traced.first("pack")[0]["scenes"]
    assert given is scene
    assert traced.first("Clock.latent")[0]["frames"] is traced.first("pack")[1].intervals
    latent = traced.first("Clock.latent")[1]
    np.testing.assert_array_equal(traced.first("WeRope.gains")[0]["intervals"], latent)
    turned = [given["gains"] for name, given, _ in traced.found if name == "apply_gains"]
    assert {x.shape[-2] for x in turned} >= {traced.first("sequence_gains")[1][1].shape[1]}


def shortened(board: Storyboard) -> Storyboard:
    """The example in a second."""
    subjects = tuple(
        dataclasses.replace(entry, appears=Spans([(0.25, 0.75)])) for entry in board.subjects
    )
    return dataclasses.replace(board, duration=1.0, subjects=subjects)


def test_from_pixels_to_a_score():
    hops = road("From pixels to a score")
    assert len(hops) <= 5
    (case,) = sprites_cases(1)
    video = np.zeros((case.clock.frames, 64, 64, 3), np.uint8)
    with Traced(hops) as traced:
        score([case], [video], SpritesTracker(), resamples=5)
    assert traced.order() == [name for _, name in hops]
    assert traced.first("t_iou")[0]["pred"] is traced.first("Sighting.spans")[1]
    assert traced.first("Sighting.spans")[0]["self"] in traced.first("SpritesTracker.track")[1]
