"""The two recipes, shrunk: they train, they learn, and what they export is a model that loads."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from lora_kit import drawn

from alchemint_jax import sharding, train, weights
from alchemint_jax.data.encode import encode_with
from alchemint_jax.data.encoded import fingerprint
from alchemint_jax.errors import ConfigError, DataError
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.models.vae import VAE
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.dropout import Dropout, keep
from alchemint_jax.train.run import build_task, run_config
from alchemint_jax.train.vae_task import edge_loss, random_crop
from alchemint_jax.worlds.sprites import write_sprites

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = [
    "train.total_steps=24",
    "train.log_every=1",
    "train.sample_every=24",
    "train.validate_every=0",
    "train.checkpoint_every=0",
    "train.optimizer.warmup_steps=0",
    "train.optimizer.schedule=constant",
    "train.optimizer.ema_decay=0.5",
]
SMALL_VAE = [
    "train.total_steps=48",
    "train.sample_every=48",
    "frames=5",
    "crop=16",
    "loader.batch_size=2",
    "model.base_dim=4",  # few layers: they take long to compile
    "model.dim_mult=(1, 1, 1)",
    "model.num_res_blocks=0",
    "train.optimizer.method=adamw",
    "train.optimizer.groups=(('all', 1e-2),)",
]
SMALL_DIT = [
    "model.patch=(1, 4, 4)",  # few tokens: each of them looks at all
    "model.dim=24",
    "model.n_heads=2",
    "model.n_layers=2",
    "model.unroll=1",
    "model.ffn_dim=32",
    "model.text_dim=12",
    "text.dim=12",
    "text.n_heads=2",
    "text.head_dim=6",
    "text.ffn_dim=16",
    "text.n_layers=1",
    "sampling.steps=1",
    "sampling.guidance.both=1.0",
    "samples=2",
    "loader.batch_size=8",
    "train.optimizer.groups=(('backbone', 1e-2), ('added', 1e-2), ('text', 1e-2))",
]


def _one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def sprites(tmp_path_factory):
    return write_sprites(tmp_path_factory.mktemp("data") / "sprites", clips=8, seed=3, validation=4)


@pytest.fixture(scope="module")
def vae_config(sprites):
    return load_config(CONFIGS / "sprites_vae.py", [*SHORT, *SMALL_VAE, f"data={sprites}"])


@pytest.fixture(scope="module")
def vae_run(vae_config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("vae")
    task = build_task(vae_config)
    return train.fit(task, build_train(vae_config), workdir, mesh=_one_device()), workdir


def _pooled(pixels):
    """Instead of an encoder: means over 4x4 pixels of every fourth frame, 8 channels of them."""
    b, _, h, w, _ = pixels.shape
    pooled = pixels[:, ::4].reshape(b, -1, h // 4, 4, w // 4, 4, 3).mean((3, 5)) / 64 - 2
    return np.tile(pooled, 3)[..., :8].astype(np.float32)


@pytest.fixture(scope="module")
def encoded(sprites, vae_run, tmp_path_factory):
    identity = fingerprint(vae_run[1] / "export" / "vae")
    return encode_with(_pooled, identity, sprites, tmp_path_factory.mktemp("latents") / "latents")


@pytest.fixture(scope="module")
def dit_overrides(encoded, vae_run):
    return [*SHORT, *SMALL_DIT, f"data={encoded}", f"vae={vae_run[1] / 'export'}"]


@pytest.fixture(scope="module")
def dit_task(dit_overrides):
    return build_task(load_config(CONFIGS / "sprites.py", dit_overrides))


@pytest.fixture(scope="module")
def batch(dit_task):
    return jax.device_put(next(iter(dit_task.train_data())))


def _losses(workdir, steps):
    """Of the first and the last steps."""
    lines = train.read_metrics(workdir / "metrics.jsonl")
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == steps and np.isfinite(losses).all()
    return np.mean(losses[:6]), np.mean(losses[-6:])


# ------------------------------------------------------------------------------- autoencoder


def test_the_autoencoder_learns_and_exports(vae_run):
    result, workdir = vae_run
    assert result.step == 48 and not result.interrupted
    first, last = _losses(workdir, 48)
    assert last < 0.8 * first
    assert len(list((workdir / "samples").iterdir())) == 2
    module, params = weights.load(workdir / "export", "vae")
    assert isinstance(module, VAE) and module.config.base_dim == 4
    assert max(module.config.latents_std) != 1 and min(module.config.latents_std) > 0
    ema = jax.device_get(result.state["ema"])
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(ema), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)  # stored as float16


def test_exported_latents_are_normalised(vae_config, vae_run):
    """As the posterior samples them, over the very clips that were measured, and stills."""
    module, params = weights.load(vae_run[1] / "export", "vae")
    mean, std = (np.asarray(x) for x in (module.config.latents_mean, module.config.latents_std))
    moments = jax.jit(lambda x: module.apply({"params": params}, x, method="moments"))
    samples = []
    for batch in build_task(vae_config).validation_data():
        stills = batch["references"][:, 0].reshape(-1, 1, *batch["references"].shape[3:])
        for pixels in (batch["video"], stills):
            found = moments(np.float32(pixels) / 127.5 - 1)
            mu, log_variance = (np.asarray(x).reshape(-1, module.config.z_dim) for x in found)
            noise = np.random.default_rng(len(samples)).standard_normal(mu.shape)
            samples.append((mu + np.exp(log_variance / 2) * noise - mean) / std)
    flat = np.concatenate(samples)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(flat.std(axis=0), 1, atol=0.05)


def test_training_sees_windows_and_validation_whole_clips(vae_config):
    task = build_task(vae_config)
    assert next(iter(task.train_data()))["video"].shape == (2, 5, 16, 16, 3)
    assert next(iter(task.validation_data()))["video"].shape == (2, 5, 64, 64, 3)


def test_windows_are_cut_from_the_clip():
    rows, columns = np.meshgrid(np.arange(6), np.arange(8), indexing="ij")
    places = np.stack([rows, columns], axis=-1)[None, None]
    clips = np.broadcast_to(places, (200, 2, 6, 8, 2))
    windows = np.asarray(jax.jit(random_crop, static_argnums=2)(jax.random.key(0), clips, 4))
    assert windows.shape == (200, 2, 4, 4, 2)
    corners = windows[:, :1, :1, :1]
    np.testing.assert_array_equal(
        windows - corners, np.broadcast_to(clips[:, :, :4, :4], windows.shape)
    )
    found = {tuple(corner) for corner in corners.reshape(-1, 2)}
    assert found == {(i, j) for i in range(3) for j in range(5)}


def test_a_run_can_start_from_exported_weights(vae_config, vae_run):
    task = build_task(vae_config)
    assert task.pretrained() == {}
    opened = dataclasses.replace(task, init_from=str(vae_run[1] / "export")).pretrained()
    start = unflatten_dict({tuple(k.split(".")): x.read() for k, x in opened.items()})
    saved = weights.load(vae_run[1] / "export", "vae")[1]
    jax.tree.map(np.testing.assert_array_equal, start, saved)
    assert jax.tree.structure(start) == jax.tree.structure(
        jax.eval_shape(task.init, jax.random.key(0))
    )


def test_edges_are_differences_of_neighbours():
    a, loss = np.zeros((1, 1, 4, 4, 1), np.float32), jax.jit(edge_loss)
    a[0, 0, 1, 2] = 1
    # Four differences of 1, out of 12 along each axis.
    assert float(loss(a, np.zeros_like(a))) == pytest.approx((2 / 12 + 2 / 12) / 2)
    assert float(loss(a, a + 3)) == pytest.approx(0)


# ------------------------------------------------------------------------------- transformer


@pytest.fixture(scope="module")
def dit_run(dit_overrides, dit_task, tmp_path_factory):
    """How it ended, where, and the parameters that it began with."""
    workdir, begun, init = tmp_path_factory.mktemp("dit"), [], train.StatePlan.init
    scored = [f"train.evaluate.{field}" for field in ("every=16", "limit=2", "batch=2")]
    config = build_train(load_config(CONFIGS / "sprites.py", [*dit_overrides, *scored]))

    def noted(plan, key):
        state = init(plan, key)
        begun.append(jax.tree.map(np.array, state["params"]))  # the arrays are donated
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.StatePlan, "init", noted)
        result = train.fit(dit_task, config, workdir, mesh=_one_device())
    (fresh,) = begun
    return result, workdir, fresh


def test_the_transformer_learns_and_exports_a_pipeline(dit_run, dit_task):
    result, workdir, _ = dit_run
    assert result.step == 24 and not result.interrupted
    lines = train.read_metrics(workdir / "metrics.jsonl")
    assert [line["step"] for line in lines if "evaluation/t_iou" in line] == [16, 24]
    first, last = _losses(workdir, 24)
    assert last < 0.9 * first
    assert len(list((workdir / "samples").iterdir())) == 2
    pipe = Pipeline.load(workdir / "export")
    assert pipe.models.dit.config == dit_task.model and pipe.limits.max_subjects == 3
    assert pipe.settings.steps == 1 and pipe.settings.guidance == Guidance(0.0, 0.0, 1.0)
    ema = jax.device_get(result.state["ema"])
    saved = {"transformer": pipe.models.dit_params, "text_encoder": pipe.texts.params()}
    for a, b in zip(jax.tree.leaves(saved), jax.tree.leaves(ema), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)  # stored as float16
    scored = dit_task.pipeline(ema)  # what is scored while it trains is what is exported
    held = {"transformer": scored.models.dit_params, "text_encoder": scored.texts.params()}
    jax.tree.map(np.testing.assert_array_equal, held, dict(ema))
    assert (scored.settings, scored.limits) == (pipe.settings, pipe.limits)


def test_a_run_is_what_its_config_says(monkeypatch, dit_overrides, dit_task, tmp_path):
    called = []

    def fit(*args, mesh):
        called.extend((*args, mesh))
        return train.FitResult({}, 24, False)

    monkeypatch.setattr("alchemint_jax.train.run.fit", fit)
    assert run_config(CONFIGS / "sprites.py", tmp_path, dit_overrides).step == 24
    task, config, workdir, mesh = called
    assert task == dit_task and config.total_steps == 24 and workdir == tmp_path
    assert mesh == sharding.make_mesh()


def test_latents_of_another_autoencoder_are_refused(dit_overrides, tmp_path):
    with pytest.raises(DataError, match=r"sprites\.py: .*encoded by another autoencoder"):
        run_config(CONFIGS / "sprites.py", tmp_path / "run", [*dit_overrides, "vae=sprites"])
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def fresh(dit_run):
    return dit_run[2]


def test_the_loss_is_that_of_the_velocity(dit_task, fresh, batch):
    """A fresh head says 0, so that the loss is the mean square of noise - data: 1 + data's."""
    loss, _ = jax.jit(dit_task.loss)(fresh, batch, jax.random.key(1))
    expected = 1 + np.mean(np.square(batch["latents"]))
    assert float(loss) == pytest.approx(expected, rel=0.05)


def test_a_first_frame_that_is_given_has_no_part_in_the_loss(dit_task, fresh, batch):
    sampling = dataclasses.replace(dit_task.sampling, given_frames=True)
    task = dataclasses.replace(dit_task, first_frame=0.9999, sampling=sampling)
    loss = jax.jit(task.loss)
    latents = batch["latents"]
    found, loud = (
        float(loss(fresh, {**batch, "latents": x}, jax.random.key(1))[0])
        for x in (latents, latents.at[:, 0].multiply(100))
    )
    expected = 1 + np.mean(np.square(batch["latents"][:, 1:]))
    assert found == pytest.approx(expected, rel=0.05) and loud == pytest.approx(found, rel=1e-5)
    both = dataclasses.replace(task, last_frame=1.0)
    frames = np.asarray(both._given(jax.random.key(0), latents).frames)
    assert frames[:, [0, -1]].all() and not frames[:, 1:-1].any()
    half = np.asarray(
        dataclasses.replace(task, first_frame=0.5, last_frame=0.5)
        ._given(jax.random.key(0), jnp.zeros((400, 3, 1, 1, 1)))
        .frames
    )
    assert not half[:, 1].any() and (half[:, 0] >= half[:, 2]).all()
    assert 0.4 < half[:, 0].mean() < 0.6 and 0.15 < half[:, 2].mean() < 0.35
    for fields, message in (
        ({"first_frame": 1.0}, "first_frame is 1.0; it must be from 0 to below 1"),
        ({"last_frame": 1.5}, "last_frame is 1.5; it must be from 0 to 1"),
        ({"first_frame": 0.0, "last_frame": 0.5}, "last_frame is 0.5; .* or 0 without first_frame"),
        ({"sampling": dit_task.sampling}, "first_frame is set, but not sampling.given_frames"),
    ):
        with pytest.raises(ConfigError, match=message):
            dataclasses.replace(task, **fields)


def test_only_pictures_words_and_captions_are_dropped(dit_task, fresh, batch):
    conditions = jax.jit(dit_task.conditions)(fresh["text_encoder"], batch)
    assert np.asarray(batch["used"]).any()
    with_text = jnp.arange(8) % 2 == 0
    with_images = ~with_text
    text, extra = model_inputs(conditions, with_text, with_images)
    np.testing.assert_array_equal(text[0], conditions.text[0])
    np.testing.assert_array_equal(text[1], conditions.null_text[1])
    assert np.any(text[1] != conditions.text[1])
    for name in ("references", "tags"):
        assert not np.any(extra[name][0])
        np.testing.assert_array_equal(extra[name][1], getattr(conditions, name)[1])
    for name in ("used", "intervals", "tag_mask"):
        np.testing.assert_array_equal(extra[name], getattr(conditions, name))
    # And the intervals are those of the batch.
    np.testing.assert_array_equal(extra["intervals"], batch["intervals"])
    empty = np.asarray(batch["intervals"])[..., 1] < np.asarray(batch["intervals"])[..., 0]
    assert empty.any() and not empty.all()
    assert (np.asarray(extra["intervals"])[~empty] <= 8.375).all()


def test_dropout_has_the_odds_of_its_fields():
    with_text, with_images = map(
        np.asarray, keep(jax.random.key(0), 40_000, Dropout(0.2, 0.1, 0.05))
    )
    assert np.mean(~with_images & with_text) == pytest.approx(0.2, abs=0.01)
    assert np.mean(with_images & ~with_text) == pytest.approx(0.1, abs=0.01)
    assert np.mean(~with_images & ~with_text) == pytest.approx(0.05, abs=0.01)
    everything = keep(jax.random.key(0), 1000, Dropout(0.0, 0.0, 0.0))
    assert all(np.all(kept) for kept in everything)
    nothing = keep(jax.random.key(0), 1000, Dropout(0.0, 0.0, 1.0))
    assert not any(np.any(kept) for kept in nothing)


@pytest.fixture(scope="module")
def eventful_task(vae_run, dit_task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    data = write_sprites(folder / "sprites", clips=8, seed=3, validation=4, events=True, cuts=True)
    identity = fingerprint(vae_run[1] / "export" / "vae")
    latents = encode_with(_pooled, identity, data, folder / "latents")
    sampling = dataclasses.replace(dit_task.sampling, event_length=32)
    model = dataclasses.replace(dit_task.model, events=True, cuts=True)
    return dataclasses.replace(dit_task, data=str(latents), model=model, sampling=sampling)


def test_events_are_trained_and_dropped_with_the_caption(eventful_task):
    task = eventful_task
    batch = jax.device_put(next(iter(task.train_data())))
    assert batch["event_ids"].shape == (8, 5, 32)
    shapes = sharding.unbox(jax.eval_shape(task.init, jax.random.key(0)))
    params = drawn(shapes, 0, size=0.2)  # what starts at zero hides what lies before it
    grads = jax.jit(jax.grad(lambda p: task.loss(p, batch, jax.random.key(1))[0]))(params)
    branch = grads["transformer"]["blocks"]["event_attn"]
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(branch))
    assert np.abs(grads["transformer"]["event_cut"]).max() > 0
    conditions = jax.jit(task.conditions)(params["text_encoder"], batch)
    np.testing.assert_array_equal(conditions.events.cut_used, batch["cut_used"])
    cuts = np.asarray(batch["cuts"])
    assert len(np.unique(cuts[batch["cut_used"]] % 1)) == 1 and batch["cut_used"].any()
    mask = np.asarray(batch["event_mask"])
    used = np.asarray(batch["event_used"])
    np.testing.assert_array_equal(mask.any(-1), used)
    np.testing.assert_array_equal(conditions.events.used, used)
    np.testing.assert_array_equal(
        np.asarray(conditions.events.intervals)[~used], [[1, 0]] * (~used).sum()
    )
    # The first row of most clips is a gap: it says what the branch without text says everywhere.
    gap = np.argwhere(mask.sum(-1) == 1)[0]
    np.testing.assert_allclose(
        conditions.events.states[tuple(gap)], conditions.events.null[gap[0]], atol=1e-6
    )


def test_a_model_and_its_data_agree_on_events_and_cuts(dit_task, eventful_task):
    uncut = dataclasses.replace(eventful_task.model, cuts=False)
    with pytest.raises(ConfigError, match=r"cuts is False, but .* have cuts; .* without --cuts"):
        dataclasses.replace(eventful_task, model=uncut).train_data()
    for one, other, says in (
        (dit_task, eventful_task, "is True, but .* have no events; .* with --events"),
        (eventful_task, dit_task, "is False, but .* have events; .* without"),
    ):
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(other, data=one.data).train_data()


def test_every_parameter_has_its_group(dit_task):
    events = dataclasses.replace(dit_task, model=dataclasses.replace(dit_task.model, events=True))
    shapes = sharding.unbox(jax.eval_shape(events.init, jax.random.key(0)))
    groups = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(shapes):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        groups.setdefault(events.label(name), set()).add("/".join(name.split("/")[:3]))
    assert groups.keys() == {"backbone", "added", "text"}
    assert groups["added"] == {
        "transformer/subjects/index",
        "transformer/subjects/tag_in",
        "transformer/subjects/tag_out",
        "transformer/blocks/event_attn",
        "transformer/event_in/kernel",
        "transformer/event_in/bias",
        "transformer/event_out/kernel",
        "transformer/event_out/bias",
    }
    assert all(name.startswith("text_encoder/") for name in groups["text"])
    assert "transformer/blocks/self_attn" in groups["backbone"]


def test_the_bundled_model_is_what_the_configs_make():
    vae, dit = (build_task(load_config(CONFIGS / f"{n}.py")) for n in ("sprites_vae", "sprites"))
    pipe = Pipeline.load("sprites")
    models = pipe.models
    measured = {f: getattr(models.vae.config, f) for f in ("latents_mean", "latents_std")}
    assert models.vae.config == dataclasses.replace(vae.model, **measured)
    assert models.dit.config == dataclasses.replace(dit.model, remat=models.dit.config.remat)
    assert pipe.texts.encoder.config == dit.text
    assert pipe.settings == dit.sampling


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shift=0.0", r"shift is 0.0"),
        ("dropout.text=0.9", r"dropout: .*more than 1"),
        ("model.slots=2", r"model.slots is 2, but .* up to 3 references"),
        ("sampling.reference_size=(64,64)", r"\(64, 64\), but .* of \(32, 32\) pixels"),
    ],
)
def test_transformer_recipes_that_cannot_work_are_refused(dit_overrides, override, message):
    config = load_config(CONFIGS / "sprites.py", [*dit_overrides, override])
    with pytest.raises(ConfigError, match=message):
        build_task(config).train_data()


def test_a_network_without_references_learns_from_captions_alone(dit_overrides):
    task = build_task(load_config(CONFIGS / "sprites.py", [*dit_overrides, "model.slots=0"]))
    batch = next(iter(task.train_data()))
    assert batch["references"].shape[1] == 0 and batch["latents"].shape[0] == 8
    shapes = sharding.unbox(jax.eval_shape(task.init, jax.random.key(0)))
    assert "subjects" not in shapes["transformer"]
    loss, _ = jax.eval_shape(task.loss, shapes, batch, jax.random.key(0))
    assert loss.shape == ()
    assert task.pipeline(None).limits.max_subjects == 0


def test_subjects_keep_the_order_of_their_slots_where_the_recipe_says_so(dit_overrides):
    def unused_before_used(*overrides: str) -> int:
        task = build_task(load_config(CONFIGS / "sprites.py", [*dit_overrides, *overrides]))
        batches = itertools.islice(task.train_data(), 4)
        return sum(int((np.diff(batch["used"].astype(int)) > 0).sum()) for batch in batches)

    assert unused_before_used() == 0
    assert unused_before_used("augment.shuffle_slots=True") > 0


def test_autoencoder_windows_fit_its_stride(sprites):
    overrides = [*SHORT, *SMALL_VAE, f"data={sprites}", "crop=14"]
    with pytest.raises(ConfigError, match=r"crop is 14.*multiple of 4"):
        build_task(load_config(CONFIGS / "sprites_vae.py", overrides))
