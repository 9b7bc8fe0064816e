"""The recipe of small decoders, shrunk: it learns what its teacher shows; what it writes loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding, train, weights
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.vae import VAE, TinyDecoder, VAEConfig
from alchemint_jax.sampling.loading import load_autoencoder
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.optimizer import FROZEN
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
    "frames=5",
    "crop=16",
    "loader.batch_size=2",
    "model.widths=(8, 6, 4)",
    "model.z_dim=2",
]


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """A teacher of random weights, which shows something, and clips."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    shapes = VAE(TEACHER).abstract_params()
    params = jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32), shapes)
    weights.save(folder / "teacher", "vae", TEACHER, params)
    clips = write_sprites(folder / "clips", clips=4, seed=3, validation=2)
    return [*SMALL, f"teacher={folder / 'teacher'}", f"data={clips}"]


@pytest.fixture(scope="module")
def run(overrides, tmp_path_factory):
    config, workdir = load_config(CONFIG, overrides), tmp_path_factory.mktemp("run")
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return train.fit(build_task(config), build_train(config), workdir, mesh=mesh), workdir


def test_it_learns_what_its_teacher_shows(run):
    result, workdir = run
    lines = [x for x in train.read_metrics(workdir / "metrics.jsonl") if "loss" in x]
    assert len(lines) == STEPS
    first, last = (np.mean([x["loss"] for x in part]) for part in (lines[:6], lines[-6:]))
    assert last < 0.6 * first
    assert np.mean([x["psnr"] for x in lines[-6:]]) > np.mean([x["psnr"] for x in lines[:6]]) + 3
    assert set(result.state["params"]) == {"tiny"} and set(result.state[FROZEN]) == {"vae"}
    assert len(list((workdir / "samples").iterdir())) == 2


def test_what_it_writes_is_a_file_in_taehvs_layout(run):
    result, workdir = run
    module, params = weights.load(workdir / "export" / "tiny_decoder.safetensors", "vae")
    assert isinstance(module, TinyDecoder) and module.config.widths == (8, 6, 4)
    ema = jax.device_get(result.state["ema"])["tiny"]
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(ema), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)  # stored as float16
    assert _shape(module) == _shape(VAE(TEACHER)) == (1, 13, 8, 12, 3)


def test_beside_a_models_weights_it_is_called_tiny(run, overrides, tmp_path):
    teacher = next(Path(o.partition("=")[2]) for o in overrides if o.startswith("teacher="))
    with pytest.raises(WeightsError, match="has no small decoder .tiny_decoder.safetensors."):
        load_autoencoder(teacher, "tiny")
    shutil.copytree(teacher, tmp_path / "model")
    shutil.copy(run[1] / "export" / "tiny_decoder.safetensors", tmp_path / "model")
    vae, _, (tiny, _) = load_autoencoder(tmp_path / "model", "tiny")
    assert vae == VAE(TEACHER) and tiny.config.widths == (8, 6, 4)
    assert load_autoencoder(teacher, None)[2] is None


def _shape(module):
    """Of the frames that a decoder makes of 4 x 2 x 3 cells."""

    def decode(params):
        return module.apply({"params": params}, jnp.zeros((1, 4, 2, 3, 2)), method="decode")

    return jax.eval_shape(decode, module.abstract_params()).shape


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.z_dim=3", "z_dim is 3, but 2 in the autoencoder of"),
        ("model.temporal_upsample=(True, False)", "temporal_stride is 2, but 4"),
        ("model.patch=2", "spatial_stride is 8, but 4"),
        ("crop=18", "crop is 18; it must be a multiple of 4"),
    ],
)
def test_it_must_have_the_shape_and_the_timing_of_its_teacher(overrides, override, says):
    with pytest.raises(ConfigError, match=says):
        build_task(load_config(CONFIG, [*overrides, override]))
