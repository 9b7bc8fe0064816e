"""Models in the manner of Wan2.2, from their directory to frames, without torch.

The goldens are tiny pipelines that diffusers made, saved and ran (tests/parity/reference_wan22.py).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from alchemint_jax import cli, weights
from alchemint_jax.errors import ConfigError, StoryboardError, WeightsError
from alchemint_jax.models.vae import VAE, TinyDecoder, TinyDecoderConfig
from alchemint_jax.sampling import Guidance, Pipeline, sample, settings
from alchemint_jax.sampling.control import Steered
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Clock, Scene, Storyboard
from alchemint_jax.train.initial_weights import initial_tensors
from alchemint_jax.weights.layouts import vae_original
from alchemint_jax.weights.layouts.moves import to_foreign

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "wan22"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@functools.cache
def _io(name):
    return load_file(GOLDENS / name / "io.safetensors")


@functools.cache
def _pipe(name):
    return Pipeline.load(GOLDENS / name)


def _guided(scale):
    """As `--guidance-both` has it, whose programs the command line then shares."""
    return Guidance(text=0.0, image=0.0, both=scale)


def _scene(io, pictures, id="clip"):
    keyframes = io["pictures"][:pictures]
    text = "a red disc glides past &amp; a cat"
    return Scene(id, text, Clock(16.0, 5, 4), keyframes=keyframes, size=(16, 32))


def _render(pipe, io, pictures, **changes):
    pair = pipe.settings.boundary is not None
    options = dict(
        steps=6,
        guidance=(_guided(2.5), _guided(4.0)) if pair else _guided(4.0),
        negative_prompt="ein Hund",
        noise=io["noise"],
    )
    scene = dataclasses.replace(_scene(io, pictures), clock=Clock(pipe.fps, 5, 4))
    return pipe.render([scene], **options | changes)


def _close(found, wanted):
    """Ours are whole numbers: within half a level, and 1e-3 of the range besides."""
    return np.abs(found / 255.0 - wanted).max() <= 0.5 / 255 + 1e-3


def test_a_frame_is_given_by_the_times_of_its_tokens():
    """What the model makes of the same noise without a picture is compared by `make parity`."""
    io = _io("ti2v")
    found = _render(_pipe("ti2v"), io, 1)
    assert _close(found, io["frames1"])
    assert not _close(found, io["frames"])


def test_a_batch_may_mix_scenes_with_and_without_a_picture():
    io, pipe = _io("ti2v"), _pipe("ti2v")
    scenes = [
        dataclasses.replace(_scene(io, n, f"clip{n}"), clock=Clock(24.0, 5, 4)) for n in (0, 1)
    ]
    conditions = pipe.conditions(scenes, "ein Hund")
    assert conditions.given.frames.tolist() == [[False, False], [True, False]]
    assert pipe.conditions(scenes[:1], "ein Hund").given is None


def test_given_frames_stand_still():
    """What a control sees of them, at any step, is what was given."""
    io, pipe = _io("ti2v"), _pipe("ti2v")
    scene = dataclasses.replace(_scene(io, 1), clock=Clock(24.0, 5, 4))
    conditions, seen = pipe.conditions([scene]), []
    plan = pipe.settings.plan(4, _guided(1.0))
    first = conditions.given.latents[:, 0]

    def look(moment, latents):
        jax.debug.callback(lambda z: seen.append(np.abs(z[:, 0] - first).max()), latents)
        return Steered(latents)

    latents = sample.sample_latents(
        pipe.models, conditions, jnp.asarray(io["noise"]), plan, control=look
    )
    jax.effects_barrier()
    assert len(seen) == 4 and max(seen) < 1e-5
    np.testing.assert_array_equal(latents[:, 0], first)


@pytest.mark.parametrize("pictures", [1, 2])
def test_two_experts_share_the_steps(pictures):
    io, pipe = _io("pair_i2v"), _pipe("pair_i2v")
    assert pipe.settings.plan(6).high_steps() == 2
    assert _close(_render(pipe, io, pictures), io[f"frames{pictures}"])


def test_each_expert_and_its_guidance_counts():
    io, pipe = _io("pair_i2v"), _pipe("pair_i2v")
    models = pipe.models
    swapped = models._replace(dit_params=models.low, low=models.dit_params)
    for other, changes in (
        (dataclasses.replace(pipe, models=swapped), {}),
        (pipe, {"guidance": _guided(4.0)}),
        (pipe, {"guidance": (_guided(4.0), _guided(2.5))}),
    ):
        assert not _close(_render(other, io, 1, **changes), io["frames1"])


def test_what_is_published_is_taken():
    five, pair = _pipe("ti2v"), _pipe("pair_i2v")
    assert (five.settings.size, five.fps, five.settings.max_frames) == ((704, 1280), 24.0, 121)
    assert five.settings.given_frames and five.settings.guidance == Guidance(both=5.0)
    assert five.settings.negative_prompt.startswith("色调艳丽")
    assert pair.settings.boundary == 0.9 and pair.settings.steps == 40
    assert pair.settings.plan().weights == Guidance(both=3.5)
    limits = pair.limits
    assert (limits.keyframes, limits.more_keyframes) == (1, "frames")
    assert (five.limits.keyframes, five.limits.more_keyframes) == (0, "first")


def test_storyboards_say_what_can_be_given(tmp_path):
    Image.fromarray(np.zeros((50, 70, 3), np.uint8)).save(tmp_path / "a.png")

    def board(**frames):
        fields = {"prompt": "a cat", "duration": 1.0, "size": [32, 48]}
        return Storyboard.from_dict(fields | {k: "a.png" for k in frames}, tmp_path)

    five, pair = _pipe("ti2v").limits, _pipe("pair_i2v").limits
    assert board(first_frame=1).scene(five).keyframes and not board().scene(five).keyframes
    assert len(board(first_frame=1, last_frame=1).scene(pair).keyframes) == 2
    with pytest.raises(StoryboardError, match="last_frame: cannot be given.*also takes first_fra"):
        board(first_frame=1, last_frame=1).scene(five)
    with pytest.raises(StoryboardError, match="first_frame: is missing"):
        board().scene(pair)
    io, pipe = _io("pair_i2v"), _pipe("pair_i2v")
    mask = pipe.conditions([_scene(io, 1), _scene(io, 2, "two")]).condition[..., :4]
    assert mask[:, 0].all() and not mask[0, -1].any() and mask[1, -1, ..., 3].all()


def test_the_switch_is_where_diffusers_has_it():
    """At shift 3 and ten steps, the fourth is at 875 thousandths: exactly the boundary."""
    chosen = Settings(solver="unipc", grid="diffusers-unipc", shift=3.0, boundary=0.875)
    assert chosen.plan(10).high_steps() == 4
    assert dataclasses.replace(chosen, boundary=0.8751).plan(10).high_steps() == 3
    assert dataclasses.replace(chosen, boundary=None).plan(10).high_steps() == 10
    for wrong in (0.0, 1.0, 3.0):
        with pytest.raises(ConfigError, match="boundary is"):
            dataclasses.replace(chosen, boundary=wrong)
    with pytest.raises(ConfigError, match="guidance_low is for models of two experts"):
        Settings(guidance_low=Guidance())


def test_guidance_of_one_or_of_both_experts(tmp_path):
    low, high = Guidance(both=3.0), Guidance(both=4.0)
    chosen = Settings(boundary=0.875, guidance=high, guidance_low=low)
    assert chosen.plan().weights == (low, high)
    assert chosen.plan(guidance=high).weights == high
    assert chosen.plan(guidance=(high, low)).weights == (high, low)
    assert chosen.plan(guidance={"both": 7.0}).weights == (Guidance(both=7.0),) * 2
    assert chosen.plan(guidance={"low": 1.0}).weights == (Guidance(both=1.0), high)
    settings.save(tmp_path, chosen)
    assert settings.load(tmp_path) == chosen
    (tmp_path / "pipeline.json").write_text('{"guidance_low": 3, "boundary": 0.5}')
    with pytest.raises(WeightsError, match="must hold an object"):
        settings.load(tmp_path)


# -------------------------------------------------------------------------------- directories


@pytest.fixture
def pair(tmp_path):
    shutil.copytree(GOLDENS / "pair_i2v", tmp_path / "pair")
    return tmp_path / "pair"


def _index(model, **fields):
    file = model / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"boundary_ratio": None}, "transformer_2 is announced, but no boundary_ratio"),
        ({"boundary_ratio": 1.5}, "boundary_ratio is 1.5; it must be a number between 0 and 1"),
        ({"transformer_2": [None, None]}, "boundary_ratio is 0.9, but transformer_2 is not ann"),
        ({"expand_timesteps": True}, "boundary_ratio and expand_timesteps are of two different"),
        ({"transformer_2": ["diffusers", "WanVACETransformer3DModel"]}, "transformer_2 is .*VACE"),
    ],
)
def test_a_pair_that_is_announced_wrongly(pair, fields, message):
    _index(pair, **fields)
    with pytest.raises(WeightsError, match=rf"(?s)model_index\.json.*{message}"):
        Pipeline.load(pair)


def test_an_expert_of_another_size(pair):
    shutil.rmtree(pair / "transformer_2")
    other = GOLDENS.parent / "pipeline" / "t2v" / "transformer"
    shutil.copytree(other, pair / "transformer_2")
    with pytest.raises(WeightsError, match="transformer_2 is another network than transformer"):
        Pipeline.load(pair)


def test_of_a_pair_one_is_trained_at_a_time(pair):
    configs = [weights.open_component(pair, p)[0].config for p in ("transformer", "text_encoder")]
    with pytest.raises(ConfigError, match="pair of experts.*set expert to 'high' or to 'low'"):
        initial_tensors(pair, *configs)


def test_a_second_expert_needs_a_pair(tmp_path):
    for field, given in (("transformer_2", tmp_path), ("loras_2", {tmp_path: 1.0})):
        with pytest.raises(ConfigError, match="has one transformer; .* for transformer_2 cannot"):
            Pipeline.load(GOLDENS / "ti2v", **{field: given})


def test_conversion_keeps_both_experts_and_the_switch(pair, tmp_path):
    ours, back, own = (tmp_path / name for name in ("ours", "back", "own"))
    wanted = ["transformer", "transformer_2", "vae", "text_encoder"]
    assert weights.convert(pair, ours, "alchemint") == wanted
    chosen = _pipe("pair_i2v").settings
    (ours / "model_index.json").unlink()
    with pytest.raises(WeightsError, match="fetch model_index.json, which says when"):
        Pipeline.load(ours)
    settings.save(ours, chosen)
    loaded = Pipeline.load(ours)
    assert loaded.settings == chosen and loaded.keyframes == 1
    jax.tree.map(np.testing.assert_array_equal, loaded.models.low, _pipe("pair_i2v").models.low)
    weights.convert(ours, back)
    index = json.loads((back / "model_index.json").read_text())
    assert index["boundary_ratio"] == 0.9 and index["_class_name"] == "WanImageToVideoPipeline"
    assert index["transformer_2"] == ["diffusers", "WanTransformer3DModel"]
    # In the names, and the folders, of Wan's own repositories.
    assert weights.convert(back, own, "wan") == wanted[:2]
    assert {path.name for path in own.iterdir()} == {"high_noise_model", "low_noise_model"}
    for name in wanted[:2]:
        _, tensors = weights.open_component(own, name)
        _, before = weights.open_component(pair, name)
        assert tensors.keys() == before.keys()
        for path, tensor in tensors.items():
            np.testing.assert_array_equal(tensor.read(), before[path].read(), err_msg=path)


# ----------------------------------------------------------------------------------- previews


def _save(file, module, entries):
    """Random weights in a file, under the names of its entries."""
    rng = np.random.default_rng(0)
    flat = flax.traverse_util.flatten_dict(module.abstract_params(), sep=".")
    ours = {k: 0.3 * rng.standard_normal(x.shape).astype(np.float32) for k, x in flat.items()}
    foreign = {e.name: np.ascontiguousarray(to_foreign(e, ours[e.path])) for e in entries}
    save_file(foreign, file)
    return file


def test_a_small_decoder_shows_what_the_autoencoder_would(tmp_path):
    """It decodes in its place, frame for frame; pictures are still encoded by the model's own."""
    config = TinyDecoderConfig(48, (4, 4, 4), (2, 2), memory_blocks=1, patch=2)
    file = tmp_path / "taew.safetensors"
    _save(file, TinyDecoder(config), vae_original.tiny_entries(config))
    io, pipe = _io("ti2v"), Pipeline.load(GOLDENS / "ti2v", vae=file)
    assert pipe.models.preview[0] == TinyDecoder(config)
    found, own = _render(pipe, io, 1), _render(_pipe("ti2v"), io, 1)
    assert found.shape == own.shape and found.dtype == own.dtype
    assert np.abs(found.astype(int) - own).mean() > 10


def test_another_autoencoder_takes_the_place_of_the_models_own(tmp_path):
    config = dataclasses.replace(_pipe("pair_i2v").models.vae.config, base_dim=1)
    file = tmp_path / "light.safetensors"
    _save(file, VAE(config), vae_original.entries(config))
    pipe = Pipeline.load(GOLDENS / "pair_i2v", vae=file)
    assert pipe.models.preview is None and pipe.models.vae.config.base_dim == 1
    five = Pipeline.load(GOLDENS / "ti2v", vae=GOLDENS / "ti2v")
    assert five.models.vae == _pipe("ti2v").models.vae


def test_a_decoder_of_another_model_is_refused(tmp_path):
    config = TinyDecoderConfig(16, (4, 4, 4), (2, 2), memory_blocks=1)
    file = tmp_path / "taew.safetensors"
    _save(file, TinyDecoder(config), vae_original.tiny_entries(config))
    with pytest.raises(WeightsError, match="small decoder z_dim is 16, but vae z_dim is 48"):
        Pipeline.load(GOLDENS / "ti2v", vae=file)


def test_a_pair_and_a_preview_from_the_command_line(tmp_path, capsys):
    config = TinyDecoderConfig(16, (4, 4, 4, 4), (1, 2, 2), memory_blocks=1)
    file = tmp_path / "taew.safetensors"
    _save(file, TinyDecoder(config), vae_original.tiny_entries(config))
    Image.fromarray(np.zeros((50, 70, 3), np.uint8)).save(tmp_path / "a.png")
    board = {"prompt": "a cat", "duration": 0.25, "size": [16, 32], "first_frame": "a.png"}
    (tmp_path / "board.yaml").write_text(json.dumps(board))
    out = tmp_path / "v.mp4"
    words = ["generate", str(tmp_path / "board.yaml"), "--out", str(out), "--steps", "6"]
    words += ["--vae", str(file), "--guidance-both", "2", "--guidance-low", "1.5", "--json"]
    assert cli.main([*words, "--model", str(GOLDENS / "pair_i2v")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["vae"], report["frames"]) == (str(file), 5)
    assert [report[name]["both"] for name in ("guidance", "guidance_low")] == [2.0, 1.5]
    assert cli.main([*words[:6], "--guidance-low", "1", "--model", str(GOLDENS / "ti2v")]) == 2
    assert "guidance_low is for models of two experts" in capsys.readouterr().err
    assert cli.main([*words[:6], "--vae", str(out), "--model", str(GOLDENS / "ti2v")]) == 2
    assert "v.mp4" in capsys.readouterr().err
