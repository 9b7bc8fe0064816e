"""Clean keyframes: pictures become latents, which stay, and whose tokens have a time of 0."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from alchemint_jax import cli
from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import DiT
from alchemint_jax.sampling import Guidance, Pipeline, pipeline
from alchemint_jax.sampling.control import Inbetween
from alchemint_jax.sampling.keyframes import _encode_video
from alchemint_jax.sampling.sample import sample_latents
from alchemint_jax.scene import Clock, Scene, Storyboard

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "pipeline"
CLOCK = Clock(16.0, 9, 4)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.load(GOLDENS / "t2v", clean_keyframes=True)


def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)


def scene(*at):
    return Scene("clip", "a cat", CLOCK, (), (), pictures()[: len(at)], (32, 48), at)


def test_pictures_become_the_latents_of_their_frames(pipe):
    """The first frame is a picture; later ones are those of a clip that stands still."""
    given = pipe.conditions([scene(0, 6), scene()])
    assert given.given.frames.tolist() == [[True, False, True], [False] * 3]
    shown = pictures().astype(np.float32) / 127.5 - 1

    def encode(video):
        return _encode_video(pipe.models.vae_params, jnp.asarray(video), vae=pipe.models.vae)

    first = encode(shown[:1, None])[0, 0]
    still = encode(np.repeat(shown[1:, None], 5, axis=1))[0, 1]
    np.testing.assert_allclose(given.given.latents[0, 0], first, atol=2e-5)
    np.testing.assert_allclose(given.given.latents[0, 2], still, atol=2e-5)
    assert not given.given.latents[0, 1].any() and not given.given.latents[1].any()
    assert pipe.conditions([scene()]).given is None


def test_sampling_is_euler_around_what_is_known(pipe):
    """Against a loop of its own, that calls the transformer with the time of each token."""
    given = pipe.conditions([scene(0, 6)])
    plan = dataclasses.replace(
        pipe.settings.plan(3, Guidance(0, 0, 1), "euler"), grid="linear", shift=1.0
    )
    start = jax.device_put(np.float32(np.random.default_rng(2).normal(size=(1, 3, 4, 6, 16))))
    found = np.asarray(sample_latents(pipe.models, given, start, plan))
    dit, params = pipe.models.dit, pipe.models.dit_params
    run = jax.jit(lambda z, t: DiT(dit.config).apply({"params": params}, z, t, given.text))
    z, sigmas = np.array(start), np.asarray(plan.levels().sigmas)
    tokens = np.repeat([0.0, 1.0, 0.0], 2 * 3)[None]
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        z[:, [0, 2]] = given.given.latents[:, [0, 2]]
        z = z + (after - now) * np.asarray(
            run(jnp.asarray(z), jnp.asarray(now * tokens, jnp.float32))
        )
    z[:, [0, 2]] = given.given.latents[:, [0, 2]]
    np.testing.assert_allclose(found, z, atol=1e-4)


def test_what_a_model_cannot_do_is_said(pipe, tmp_path):
    assert "keyframes at any time, one in 4 frames" in pipe.limits.describe()
    with pytest.raises(ConfigError, match="has channels for keyframes"):
        Pipeline.load(GOLDENS / "flf2v", clean_keyframes=True)
    Image.fromarray(pictures()[0]).save(tmp_path / "a.png")
    board = {"prompt": "a cat", "duration": 0.5, "size": [32, 48]}
    keyframes = [{"image": "a.png", "at": 0.3}]

    def made(**changes):
        return Storyboard.from_dict(board | changes, base=tmp_path)

    with pytest.raises(StoryboardError, match="0.3125 s and 0.5 s are too close to each other"):
        pipe.scene(made(keyframes=keyframes, last_frame="a.png"))
    assert pipe.scene(made(keyframes=keyframes)).given_at == (5,)
    plain = dataclasses.replace(pipe, clean_keyframes=False)
    with pytest.raises(StoryboardError, match=r"keyframes: the one at 0.3125 s: cannot be given"):
        plain.scene(made(keyframes=keyframes))


def test_from_the_command_line(tmp_path, capsys, monkeypatch):
    """Up to the loop, which is tested above."""
    Image.fromarray(pictures()[0]).save(tmp_path / "a.png")
    file = tmp_path / "board.yaml"
    file.write_text(
        "{prompt: a cat, duration: 0.5, size: [32, 48], first_frame: a.png, last_frame: a.png}"
    )
    asked = []

    def loop(models, conditions, start, plan, on_step, control, *others):
        asked.append((conditions, control))
        return start

    frames = np.zeros((1, 9, 32, 48, 3), np.uint8)
    monkeypatch.setattr(pipeline, "sample_latents", loop)
    monkeypatch.setattr(pipeline, "decode", lambda models, latents: frames)
    words = ["generate", str(file), "--steps", "2", "--out", str(tmp_path / "v.mp4"), "--json"]
    words += ["--model", str(GOLDENS / "t2v")]
    assert cli.main([*words, "--clean-keyframes", "--inbetween"]) == 0
    out = capsys.readouterr().out
    assert '"keyframes": [0, 8]' in out and '"near": 0.7' in out
    ((conditions, control),) = asked
    assert conditions.given.frames.tolist() == [[True, False, True]] and control == Inbetween()
    assert cli.main([*words, "--inbetween"]) == 2
    assert "first_frame: cannot be given" in capsys.readouterr().err
