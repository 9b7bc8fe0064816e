"""The recipe of small decoders, shrunk: it learns what its teacher shows; what it writes loads."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding, train, weights
from alchemint_jax.data import decoded, records
from alchemint_jax.data.clips import open_split
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.errors import ConfigError, DataError, WeightsError
from alchemint_jax.models.vae import VAE, TinyDecoder, VAEConfig
from alchemint_jax.sampling.loading import load_autoencoder
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.run import build_task
from alchemint_jax.worlds.sprites import write_sprites

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs" / "sprites_tiny_decoder.py"
TEACHER = VAEConfig(4, (1, 1, 1), 0, 2, (True, True), (0.0, 0.0), (1.0, 1.0))
STEPS = 60
SMALL = [
    f"train.total_steps={STEPS}",
    "train.log_every=1",
    f"train.sample_every={STEPS}",
    "train.validate_every=0",
    "train.checkpoint_every=0",
    "train.optimizer.warmup_steps=0",
    "train.optimizer.schedule=constant",
    "train.optimizer.ema_decay=0.5",
    "train.optimizer.method=adamw",
    "train.optimizer.groups=(('all', 1e-2),)",
    "cells=2",
    "loader.batch_size=2",
    "model.widths=(8, 4)",
    "model.memory_blocks=1",
    "model.z_dim=2",
]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A model of random weights, which shows something."""
    folder = tmp_path_factory.mktemp("tiny") / "teacher"
    rng = np.random.default_rng(0)
    shapes = VAE(TEACHER).abstract_params()
    params = jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), shapes)
    weights.save(folder, "vae", TEACHER, params)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_sprites(tmp_path_factory.mktemp("clips") / "clips", 4, 3, validation=2, frames=5)


@pytest.fixture(scope="module")
def data(teacher, clips):
    """The clips, as the model shows them."""
    return decoded.write_decoded(clips, teacher, clips.parent / "decoded", 3, noise=0.5, shard=2)


@pytest.fixture(scope="module")
def overrides(data):
    return [*SMALL, f"data={data}"]


@pytest.fixture(scope="module")
def run(overrides, tmp_path_factory):
    config, workdir = load_config(CONFIG, overrides), tmp_path_factory.mktemp("run")
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return train.fit(build_task(config), build_train(config), workdir, mesh=mesh), workdir


def test_frames_are_those_of_exactly_these_latents(data, teacher, clips):
    """Near those of the clips: each has noise of its own."""
    vae, params = weights.load(teacher, "vae")
    apply = functools.partial(vae.apply, {"params": params})
    loader = LoaderConfig(3, shuffle=False)
    batch = next(iter(decoded.decoded_loader(data, "train", loader)))
    shown = jax.jit(lambda z: apply(z, method="decode"))(batch["latents"])
    assert shown.shape == batch["video"].shape == (3, 5, 64, 64, 3)
    np.testing.assert_allclose(batch["video"], (np.asarray(shown) + 1) * 127.5, atol=0.51)
    drawn = np.stack([open_split(clips, "train")[i]["video"] for i in range(3)])
    clean = jax.jit(lambda x: apply(x, method="encode"))(drawn.astype(np.float32) / 127.5 - 1)
    noise = (batch["latents"] - clean).std(axis=(1, 2, 3, 4))
    assert (noise < 0.55).all() and np.ptp(noise) > 0.05
    card = decoded.read_card(data)
    assert card["splits"] == {"train": 3, "validation": 1}


def test_a_stopped_command_goes_on_and_ends_alike(data, teacher, clips, tmp_path, monkeypatch):
    out, write, made = tmp_path / "decoded", records.write_shard, []

    def stops(path, rows):
        if made:
            raise KeyboardInterrupt
        made.append(path.name)
        return write(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_shard", stops)
        with pytest.raises(KeyboardInterrupt):
            decoded.write_decoded(clips, teacher, out, 3, noise=0.5, shard=2)
    with pytest.raises(DataError, match="is not a finished set of decoded clips"):
        decoded.read_card(out)
    decoded.write_decoded(clips, teacher, out, 3, noise=0.5, shard=2)
    for split in decoded.SPLITS:
        one, other = (
            next(iter(decoded.decoded_loader(x, split, LoaderConfig(1)))) for x in (data, out)
        )
        np.testing.assert_array_equal(one["latents"], other["latents"])
    with pytest.raises(DataError, match="was made with another noise"):
        decoded.write_decoded(clips, teacher, out, 3, noise=0.25, shard=2)


def test_it_learns_what_its_teacher_shows(run):
    result, workdir = run
    lines = [x for x in train.read_metrics(workdir / "metrics.jsonl") if "loss" in x]
    assert len(lines) == STEPS
    first, last = (np.mean([x["loss"] for x in part]) for part in (lines[:6], lines[-6:]))
    assert last < 0.6 * first
    assert np.mean([x["psnr"] for x in lines[-6:]]) > np.mean([x["psnr"] for x in lines[:6]]) + 3
    assert len(list((workdir / "samples").iterdir())) == 2


def test_what_it_writes_is_a_file_in_taehvs_layout(run):
    result, workdir = run
    module, params = weights.load(workdir / "export" / "tiny_decoder.safetensors", "vae")
    assert isinstance(module, TinyDecoder) and module.config.widths == (8, 4)
    ema = jax.device_get(result.state["ema"])
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(ema), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)  # stored as float16
    assert _shape(module) == _shape(VAE(TEACHER)) == (1, 13, 8, 12, 3)


def test_beside_a_models_weights_it_is_called_tiny(run, teacher, tmp_path):
    with pytest.raises(WeightsError, match="has no small decoder .tiny_decoder.safetensors."):
        load_autoencoder(teacher, "tiny")
    shutil.copytree(teacher, tmp_path / "model")
    shutil.copy(run[1] / "export" / "tiny_decoder.safetensors", tmp_path / "model")
    vae, _, (tiny, _) = load_autoencoder(tmp_path / "model", "tiny")
    assert vae == VAE(TEACHER) and tiny.config.widths == (8, 4)
    assert load_autoencoder(teacher, None)[2] is None


def _shape(module):
    """Of the frames that a decoder makes of 4 x 2 x 3 cells."""

    def decode(params):
        return module.apply({"params": params}, jnp.zeros((1, 4, 2, 3, 2)), method="decode")

    return jax.eval_shape(decode, module.abstract_params()).shape


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.z_dim=3", "z_dim is 3, but 2 in the clips in"),
        ("model.temporal_upsample=(2,)", "temporal_stride is 2, but 4"),
        ("model.patch=4", "spatial_stride is 8, but 4"),
    ],
)
def test_it_must_have_the_shape_and_the_timing_of_the_clips(overrides, override, says):
    with pytest.raises(ConfigError, match=says):
        build_task(load_config(CONFIG, [*overrides, override])).train_data()
