"""Latents of an autoencoder that joins two frames, not four: encoded, trained on, and sampled."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from alchemint_jax import weights
from alchemint_jax.data import Augment, LoaderConfig, encode_dataset, latent_loader
from alchemint_jax.data.encoded import read_header
from alchemint_jax.data.encoding import Encoding
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.rotary import FittedRope
from alchemint_jax.sampling import Guidance, Pipeline, settings
from alchemint_jax.scene import Clock, Storyboard
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.worlds.sprites import World, sample_clip, write_sprites
from alchemint_jax.worlds.sprites.builder import split_seed

pytestmark = pytest.mark.slow

FRAMES = 9
VAE_CONFIG = VAEConfig(
    base_dim=4, dim_mult=(1, 1, 1), num_res_blocks=0, z_dim=2, temporal_downsample=(True, False),
    latents_mean=(0.0,) * 2, latents_std=(1.0,) * 2,
)  # fmt: skip
DIT_CONFIG = DiTConfig(
    dim=24, n_heads=2, n_layers=1, ffn_dim=16, in_channels=2, out_channels=2, text_dim=8,
    freq_dim=8, slots=3, patch=(1, 4, 4), scheme=FittedRope(stride=2),
)  # fmt: skip
TEXT_CONFIG = UMT5Config(vocab=259, dim=8, n_heads=2, head_dim=4, ffn_dim=8, n_layers=1)
SETTINGS = settings.Settings(
    size=(64, 64), max_frames=FRAMES, steps=1, reference_size=(32, 32), guidance=Guidance(0, 0, 1)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model directory of random weights."""
    folder, rng = tmp_path_factory.mktemp("model"), np.random.default_rng(0)

    def leaf(x):
        return np.float32(rng.standard_normal(x.shape) / math.sqrt(math.prod(x.shape[:-1])))

    modules = {
        "vae": VAE(VAE_CONFIG),
        "transformer": DiT(DIT_CONFIG),
        "text_encoder": UMT5Encoder(TEXT_CONFIG),
    }
    for name, module in modules.items():
        params = jax.tree.map(leaf, module.abstract_params())
        weights.save(folder, name, module.config, params)
    settings.save(folder, SETTINGS)
    return folder


@pytest.fixture(scope="module")
def task(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    clips = write_sprites(folder / "clips", clips=2, validation=1, frames=FRAMES)
    data = encode_dataset(clips, model, folder / "latents", Encoding(views=1), batch=1)
    return DiTTask(
        model=DIT_CONFIG,
        text=TEXT_CONFIG,
        data=str(data),
        vae=str(model),
        loader=LoaderConfig(2, shuffle=False),
        augment=Augment(False, False),
        sampling=SETTINGS,
    )


def test_training_and_generation_time_a_clip_alike(task, model):
    header = read_header(task.data)
    assert (header["stride"], header["buckets"][0]["latents"][0]) == (2, 5)
    batch = next(iter(task.train_data()))
    scenes = [sample_clip(i, split_seed(0, "train"), World.short(FRAMES)).scene for i in range(2)]
    pipe = Pipeline.load(model)
    conditions = pipe.conditions(scenes, slots=pipe.limits.max_subjects)
    np.testing.assert_array_equal(batch["intervals"], conditions.intervals)
    np.testing.assert_array_equal(batch["used"], conditions.used)
    assert float(batch["intervals"].max()) > Clock(8, FRAMES, 4).coordinate(FRAMES - 1)
    there = batch["used"]  # a slot that is not holds zeros here, and white there
    found = np.asarray(conditions.references)[there]
    np.testing.assert_allclose(batch["references"][there], found, atol=2e-3)

    params = {
        name: jax.device_put(weights.load(model, name)[1])
        for name in ("transformer", "text_encoder")
    }
    loss, _ = jax.jit(task.loss)(params, jax.device_put(batch), jax.random.key(0))
    assert np.isfinite(loss)
    assert pipe.render(scenes).shape == (2, FRAMES, 64, 64, 3)
    board = Storyboard.from_dict({"prompt": "a disc", "duration": 0.75})
    assert pipe.scene(board).clock == Clock(8, 7, 2)


def test_a_scheme_for_another_stride_is_refused(task):
    other = dataclasses.replace(task, model=dataclasses.replace(DIT_CONFIG, scheme=FittedRope()))
    with pytest.raises(ConfigError, match=r"model.scheme.stride is 4, but .* holds 2 pixel frames"):
        other.train_data()


def test_a_model_whose_parts_have_two_strides_is_refused(model, tmp_path):
    mixed = shutil.copytree(model, tmp_path / "mixed")
    config = json.loads((mixed / "transformer" / "config.json").read_text())
    config["scheme"]["stride"] = 4
    (mixed / "transformer" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="scheme.stride is 4, but vae temporal_stride is 2"):
        Pipeline.load(mixed)


def test_datasets_that_do_not_say_their_stride_are_read(task, tmp_path):
    """As those were written before, in schema 1."""
    header = read_header(task.data)
    (bucket,) = header["buckets"]
    old = shutil.copytree(Path(task.data) / bucket["folder"], tmp_path / "old")
    card = {name: header[name] for name in ("dataset", "vae", "source", "fps")} | bucket
    (old / "dataset.json").write_text(json.dumps(card | {"schema": 1}))
    assert read_header(old)["stride"] == 2
    before, after = (
        next(iter(latent_loader(data, "train", task.loader, task.augment)))
        for data in (task.data, old)
    )
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
