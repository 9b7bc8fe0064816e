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
from alchemint_jax.data import decoded, records, teacher_paths
from alchemint_jax.data.clips import open_split
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.errors import ConfigError, DataError, WeightsError
from alchemint_jax.models.vae import VAE, TinyDecoder, VAEConfig
from alchemint_jax.sampling.loading import load_autoencoder
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.run import build_task
from alchemint_jax.train.state import plan_state
from alchemint_jax.train.tiny_decoder_task import energy_loss
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


@pytest.fixture
def paths(teacher, tmp_path):
    """Where a teacher ended, three times: the fields that are read, and what says so."""
    folder, rng = tmp_path / "paths", np.random.default_rng(0)
    shape = (2, 2, 16, 16, 2)
    for split, count in (("train", 2), ("validation", 1)):
        rows = [{"states": rng.standard_normal(shape).astype(np.float16)} for _ in range(count)]
        records.write_shard(folder / split / f"{split}-00000-of-00001.array_record", rows)
    card = {
        "kind": teacher_paths.KIND, "schema": teacher_paths.SCHEMA, "shard": 2,
        "splits": {"train": 2, "validation": 1}, "frames": 5, "size": [64, 64],
        "model": {"vae": fingerprint(teacher / "vae")},
    }  # fmt: skip
    records.write_json(folder / teacher_paths.MARK, card)
    return folder


def test_ends_of_paths_come_after_the_clips(teacher, clips, paths, tmp_path):
    out = decoded.write_decoded(
        clips, teacher, tmp_path / "out", 1, paths=paths, noise=0.0, shard=2
    )
    card = decoded.read_card(out)
    assert card["splits"] == {"train": 3, "validation": 2} and card["paths"] == "paths"
    batch = next(iter(decoded.decoded_loader(out, "train", LoaderConfig(3, shuffle=False))))
    made = teacher_paths.open_split(paths, "train")
    ends = [made[i]["states"][-1].astype(np.float32) for i in range(2)]
    np.testing.assert_array_equal(batch["latents"][1:], np.stack(ends))
    assert np.abs(batch["latents"][0] - ends[0]).max() > 0.1
    vae, params = weights.load(teacher, "vae")
    shown = jax.jit(lambda z: vae.apply({"params": params}, z, method="decode"))(np.stack(ends))
    np.testing.assert_allclose(batch["video"][1:], (np.asarray(shown) + 1) * 127.5, atol=0.51)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"model": {"vae": "another"}}, "of another autoencoder than that of"),
        ({"frames": 9}, "its clips have 9 frames of 64 x 64, but the clips have 5 frames of 64"),
    ],
)
def test_paths_of_other_clips_are_refused(teacher, clips, paths, tmp_path, said, says):
    card = records.read_json(paths / teacher_paths.MARK)
    records.write_json(paths / teacher_paths.MARK, card | said)
    with pytest.raises(DataError, match=says):
        decoded.write_decoded(clips, teacher, tmp_path / "out", 1, paths=paths)
    assert not (tmp_path / "out").exists()


def test_energy_is_that_of_windows():
    """One window with a ramp along the columns, which moves by its slope in every frame."""
    ramp = 2 * np.arange(4.0)[None, None, None, :, None] * np.ones((1, 2, 4, 1, 1))
    ramp = np.float32(ramp + 2 * np.arange(2.0)[None, :, None, None, None])
    columns, motion = 2 * np.sqrt(3 / 4), 2.0  # the last column has no neighbour
    still, loss = np.zeros_like(ramp), jax.jit(energy_loss, static_argnames="side")
    np.testing.assert_allclose(loss(ramp, still, side=4), columns**2 + motion**2, rtol=5e-3)
    assert loss(ramp, ramp + 7) == 0  # whatever the colour
    assert loss(ramp, -ramp) == 0  # and whatever the direction
    first = loss(ramp[:, :1], still[:, :1], side=4)  # nothing moves
    np.testing.assert_allclose(first, columns**2, rtol=5e-3)
    assert np.isfinite(jax.jit(jax.grad(energy_loss))(still, ramp)).all()


def test_training_goes_on_from_a_decoder(run, teacher, overrides):
    file = run[1] / "export" / "tiny_decoder.safetensors"
    config = load_config(f"{CONFIG}:sharp", [*overrides, f"init_from={file}"])
    task, mesh = build_task(config), sharding.make_mesh(devices=jax.devices()[:1])
    state = plan_state(task, build_train(config).optimizer, mesh).init(jax.random.key(1))
    _, params = weights.load(file, "vae")
    for name in ("params", "ema"):
        jax.tree.map(np.testing.assert_array_equal, state[name], params)
    assert task.loss_weights.energy > 0
    config = load_config(CONFIG, [*overrides, f"init_from={teacher}"])
    with pytest.raises(WeightsError, match="is no small decoder"):
        build_task(config).pretrained()


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
