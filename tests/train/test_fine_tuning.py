"""Fine-tuning: from a Wan-like directory or the bundled model, whole or as a LoRA."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import tokenizers
from flax.traverse_util import flatten_dict, unflatten_dict
from lora_kit import KEY, LORA, OURS, TEXT, WAN, drawn, inputs, same, size, velocity
from safetensors.numpy import load_file
from tokenizers import models, processors

from alchemint_jax import rotary, sharding, train, weights
from alchemint_jax.data.encode import encode_with
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.lora import merge_lora
from alchemint_jax.models.umt5 import UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.sampling import Pipeline, settings
from alchemint_jax.sampling.solvers import UniPC
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.train.config import load_config
from alchemint_jax.train.initial_weights import initial_tensors
from alchemint_jax.train.run import build_task
from alchemint_jax.train.state import everything
from alchemint_jax.weights import lora as lora_files
from alchemint_jax.weights.tensors import in_memory
from alchemint_jax.worlds.sprites import write_sprites

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def base():
    ids, mask = np.zeros((1, 2), np.int32), np.ones((1, 2), bool)
    text = jax.eval_shape(UMT5Encoder(TEXT).init, KEY, ids, mask)["params"]
    return {
        "transformer": drawn(DiT(WAN).abstract_params(), 0),
        "text_encoder": drawn(sharding.unbox(text), 1),
    }


@pytest.fixture(scope="module")
def directory(base, tmp_path_factory):
    """A model in Wan's diffusers format, without references."""
    directory = tmp_path_factory.mktemp("wan")
    for name, config in (("transformer", WAN), ("text_encoder", TEXT)):
        weights.save(directory, name, config, base[name], format="wan-diffusers")
    config = VAEConfig(
        base_dim=2, dim_mult=(1, 2, 2), num_res_blocks=1, temporal_downsample=(True, True),
        z_dim=8, latents_mean=(0.0,) * 8, latents_std=(1.0,) * 8,
    )  # fmt: skip
    shapes = jax.eval_shape(VAE(config).init, KEY, np.zeros((1, 5, 4, 4, 3), np.float32))
    weights.save(directory, "vae", config, drawn(sharding.unbox(shapes["params"]), 2))
    return directory


def _pooled(pixels):
    """Instead of an encoder: means over 4x4 pixels of every fourth frame, 8 channels of them."""
    b, _, h, w, _ = pixels.shape
    pooled = pixels[:, ::4].reshape(b, -1, h // 4, 4, w // 4, 4, 3).mean((3, 5)) / 64 - 2
    return np.tile(pooled, 3)[..., :8].astype(np.float32)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    sprites = write_sprites(folder / "sprites", clips=8, seed=3, validation=4)
    return encode_with(_pooled, "pooled", sprites, folder / "latents")


@pytest.fixture(scope="module")
def full(directory, encoded):
    """A fine-tune of everything but the text encoder."""
    config = load_config(
        CONFIGS / "sprites.py", [f"data={encoded}", f"vae={directory}", "loader.batch_size=8"]
    )
    task = build_task(config)
    return dataclasses.replace(
        task, model=OURS, text=TEXT, init_from=str(directory), train_text=False, storage="float32"
    )


@pytest.fixture(scope="module")
def small(full):
    """The same as a LoRA."""
    return dataclasses.replace(full, lora=LORA)


def fitted(task, workdir, steps, rate, every=0):
    group = "lora" if task.lora else "backbone"
    optimizer = train.OptimizerConfig(
        groups=(("added", rate), (group, rate)), weight_decay=0.01, ema_decay=0.5
    )
    config = train.TrainConfig(
        total_steps=steps, log_every=1, validate_every=0, sample_every=0, checkpoint_every=every,
        optimizer=optimizer,
    )  # fmt: skip
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return train.fit(task, config, workdir, mesh=mesh)


# ------------------------------------------------------------------------------- where it starts


def test_step_zero_is_the_model_it_starts_from(base, directory, full):
    events = dataclasses.replace(OURS, events=True)
    task = dataclasses.replace(full, model=events)
    plan = train.plan_state(
        task,
        train.OptimizerConfig(groups=(("added", 1.0), ("backbone", 1.0))),
        sharding.make_mesh(devices=jax.devices()[:1]),
    )
    state = plan.init(KEY)
    params = everything(state, "params")
    same(params["text_encoder"], base["text_encoder"])
    expected = velocity(WAN, {"params": base["transformer"]}, inputs())
    variables = {"params": params["transformer"]}
    np.testing.assert_array_equal(velocity(events, variables, inputs()), expected)
    # Dense captions say nothing yet.
    captions = {k: x for k, x in inputs(events, True).items() if k.startswith("event")}
    captions["event_mask"] = np.ones((2, 1, 1), bool)
    captions["event_intervals"] = np.zeros((2, 1, 2), np.float32)
    np.testing.assert_array_equal(velocity(events, variables, inputs() | captions), expected)
    # Empty slots: only the length of sums differs.
    empty = inputs(OURS, True)
    np.testing.assert_allclose(velocity(events, variables, empty), expected, atol=1e-6, rtol=0)
    # And of filled ones, neither the slot nor the word makes a difference.
    filled = jax.device_get(empty) | {"used": np.ones((2, 3), bool)}
    one = velocity(events, variables, filled)
    other = velocity(events, variables, filled | {"tags": filled["tags"] + 1})
    swapped = {
        name: np.roll(x, 1, axis=1) if name in ("references", "tags") else x
        for name, x in filled.items()
    }
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, velocity(events, variables, swapped), atol=1e-6, rtol=0)
    assert np.abs(np.asarray(one) - np.asarray(expected)).max() > 1e-4, (
        "test is vacuous: pictures are not seen"
    )


def transformer_of(base):
    """The transformer's arrays, of what `initial_tensors` gives."""
    read = {tuple(name.split(".")): tensor.read() for name, tensor in base.items()}
    return unflatten_dict(read)["transformer"]


def test_a_model_with_references_is_started_from_as_it_is_with_any_scheme():
    pipe = weights.load("sprites", "transformer")
    text = weights.load("sprites", "text_encoder")[0].config
    same(transformer_of(initial_tensors("sprites", pipe[0].config, text)), pipe[1])
    other = dataclasses.replace(pipe[0].config, scheme=rotary.MidRope(), mix_queries=False)
    same(transformer_of(initial_tensors("sprites", other, text)), pipe[1])


@pytest.mark.parametrize("part, begins", [("index", "index"), ("tags", "tag_")])
def test_a_part_that_the_config_leaves_out_is_left_out_of_the_base(part, begins):
    module, params = weights.load("sprites", "transformer")
    text = weights.load("sprites", "text_encoder")[0].config
    less = dataclasses.replace(module.config, **{part: False})
    found = transformer_of(initial_tensors("sprites", less, text))
    subjects = {name: x for name, x in params["subjects"].items() if not name.startswith(begins)}
    assert subjects.keys() < params["subjects"].keys(), "test is vacuous: nothing is left out"
    same(found, {**params, "subjects": subjects})
    assert jax.tree.structure(found) == jax.tree.structure(DiT(less).abstract_params())


def test_a_base_with_references_starts_a_network_without():
    module, params = weights.load("sprites", "transformer")
    text = weights.load("sprites", "text_encoder")[0].config
    plain = dataclasses.replace(module.config, slots=0)
    found = transformer_of(initial_tensors("sprites", plain, text))
    same(found, {name: x for name, x in params.items() if name != "subjects"})
    assert jax.tree.structure(found) == jax.tree.structure(DiT(plain).abstract_params())


def test_a_base_of_other_sizes_is_refused_with_all_differences(directory):
    wanted = dataclasses.replace(OURS, ffn_dim=64, theta_t=50.0, unroll=2, remat="full")
    text = dataclasses.replace(TEXT, n_layers=3)
    with pytest.raises(ConfigError) as caught:
        initial_tensors(directory, wanted, text)
    lines = str(caught.value).splitlines()
    assert str(directory) in lines[0]
    assert [line.strip() for line in lines[1:]] == [
        "model.ffn_dim is 64 here and 32 there",
        "model.theta_t is 50.0 here and 10000.0 there",
        "text.n_layers is 3 here and 1 there",
    ]
    sprites = weights.load("sprites", "transformer")[0].config
    fewer = dataclasses.replace(sprites, slots=2, reference_time="video")
    with pytest.raises(
        ConfigError, match=r"model.slots is 2 here and 3 there\n  model.reference_time is"
    ):
        initial_tensors("sprites", fewer, weights.load("sprites", "text_encoder")[0].config)
    with pytest.raises(WeightsError, match=r"no model at '/nowhere'"):
        initial_tensors("/nowhere", OURS, TEXT)


def test_what_a_base_has_beside_its_networks_is_exported_with_it(small, directory, tmp_path):
    made = tokenizers.Tokenizer(
        models.Unigram([(x, 0.0) for x in ("<pad>", "</s>", "<unk>", "a")], 2)
    )
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    shutil.copytree(directory, tmp_path / "base")
    (tmp_path / "base" / "tokenizer").mkdir()
    made.save(str(tmp_path / "base" / "tokenizer" / "tokenizer.json"))
    (tmp_path / "base" / "scheduler").mkdir()
    (tmp_path / "base" / "scheduler" / "scheduler_config.json").write_text('{"shift": 3.0}')
    own = dict(text_length=9, tag_length=4, solver="unipc", unipc=UniPC(3), shift_terminal=0.1)
    sampling = dataclasses.replace(small.sampling, **own)
    task = dataclasses.replace(small, init_from=str(tmp_path / "base"), sampling=sampling)
    batch = next(iter(task.train_data()))
    assert batch["text_ids"].shape == (8, 9) and batch["tag_ids"].shape == (8, 3, 4)
    assert set(np.unique(batch["text_ids"])) <= {0, 1, 2, 3}
    assert next(iter(small.train_data()))["text_ids"].shape == (8, 112)
    params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), jax.eval_shape(task.init, KEY))
    hardware = dataclasses.replace(task.model, attention="cudnn")
    task = dataclasses.replace(task, model=hardware)
    task.export(sharding.unbox(params), tmp_path / "export")
    assert (tmp_path / "export" / "tokenizer" / "tokenizer.json").is_file()
    # For diffusers, that of the base; for us, what the config says.
    file = tmp_path / "export" / "scheduler" / "scheduler_config.json"
    assert file.read_text() == '{"shift": 3.0}'
    assert settings.load(tmp_path / "export") == sampling
    # Trained where there is cuDNN, loaded anywhere.
    assert weights.load(tmp_path / "export", "transformer")[0].config == small.model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": None, "train_text": True}, "lora is set, but not init_from"),
        ({"init_from": None, "lora": None}, "train_text is False, but not init_from"),
        ({"compute": "float8"}, "compute is 'float8'"),
    ],
)
def test_tasks_that_cannot_be_are_refused(small, changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(small, **changes)


def test_image_to_video_networks_are_planned_but_not_trained(small):
    task = dataclasses.replace(small, model=dataclasses.replace(OURS, image_dim=4))
    small.check_trainable()
    with pytest.raises(ConfigError, match="image-to-video"):
        task.check_trainable()


# ------------------------------------------------------------------------------- training


def test_frozen_weights_have_no_moments_and_no_average(small):
    optimizer = train.OptimizerConfig(groups=(("added", 1.0), ("lora", 1.0)))
    state = train.plan_state(small, optimizer, sharding.make_mesh()).abstract
    moving = size(state["params"])
    assert state["params"].keys() == {"lora", "transformer"}
    assert state["params"]["transformer"].keys() == {"subjects"}
    assert size(state["ema"]) == moving
    assert 2 * moving <= size(state["opt"]) <= 2 * moving + 64  # and counters
    assert state["frozen"].keys() == {"transformer", "text_encoder"}
    whole = jax.eval_shape(small.init, KEY)
    sharded = train.plan_state(small, optimizer, sharding.make_mesh(fsdp=8)).abstract
    layer = sharded["params"]["lora"]["blocks"]["self_attn"]["q"]
    assert tuple(layer["a"].sharding.spec) == (None, ("fsdp", "context"), None)
    assert size(state["frozen"]) + moving == size(sharding.unbox(whole))


def test_a_whole_fine_tune_learns_and_keeps_the_text_encoder(full, base, tmp_path):
    result = fitted(full, tmp_path, 30, 5e-3)
    lines = train.read_metrics(tmp_path / "metrics.jsonl")
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:6])
    exported = weights.load(tmp_path / "export", "text_encoder")[1]
    same(exported, base["text_encoder"])
    moved = result.state["params"]["transformer"]["blocks"]["ffn_up"]["kernel"]
    assert np.abs(moved - base["transformer"]["blocks"]["ffn_up"]["kernel"]).max() > 1e-3
    assert not list((tmp_path / "export").glob("lora*"))
    board = Storyboard.from_dict({"prompt": "a red disc", "duration": 4.0})
    video = Pipeline.load(tmp_path / "export").generate(board, steps=1)
    assert video.shape == (33, 64, 64, 3) and video.std() > 1


@pytest.fixture(scope="module")
def straight_run(small, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight")
    return fitted(small, workdir, 6, 1e-2), workdir


def test_a_lora_resumes_to_the_bit_and_its_checkpoints_lack_the_base(
    small, base, straight_run, tmp_path
):
    straight, workdir = straight_run
    fitted(small, tmp_path, 3, 1e-2)
    resumed = fitted(small, tmp_path, 6, 1e-2)
    assert resumed.state.keys() == straight.state.keys() == {
        "params", "ema", "opt", "step", "frozen",
    }  # fmt: skip
    same(resumed.state, straight.state)
    for name, kept in base["transformer"].items():
        same(resumed.state["frozen"]["transformer"][name], kept)
    for file in ("transformer/model.safetensors", "lora_diffusers.safetensors"):
        a, b = (run / "export" / file for run in (tmp_path, workdir))
        assert a.read_bytes() == b.read_bytes()
    saved = (workdir / "checkpoints" / "6" / "state" / "_METADATA").read_text()
    assert "subjects" in saved and "frozen" not in saved


def test_what_a_lora_run_exports(base, straight_run):
    result, workdir = straight_run
    ema = jax.device_get(result.state["ema"])
    assert np.abs(ema["lora"]["blocks"]["ffn_up"]["b"]).max() > 1e-3, "test is vacuous"
    module, params = weights.load(workdir / "export", "transformer")
    assert module.config == OURS
    same(params["subjects"], ema["transformer"]["subjects"])
    merged = merge_lora(base["transformer"], ema["lora"], LORA.scale)
    same({name: params[name] for name in merged}, merged)
    for form in ("diffusers", "comfyui"):
        file = workdir / "export" / f"lora_{form}.safetensors"
        tensors = {".".join(k): in_memory(x) for k, x in flatten_dict(base["transformer"]).items()}
        shapes = {path: x.shape for path, x in tensors.items()}
        read = lora_files.merge(tensors, lora_files.load_loras({file: 1.0}, OURS, shapes))
        for path, wanted in flatten_dict(merged, sep=".").items():
            np.testing.assert_allclose(read[path].read(), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_rate_of_zero_leaves_every_bit_through_export(
    kind, full, small, base, directory, tmp_path
):
    """That of a step is `test_rate_of_zero_leaves_every_bit`; here one kind of task takes some."""
    export = tmp_path / "export"
    if kind == "lora":
        fitted(small, tmp_path, 2, 0.0)
    else:
        optimizer = train.OptimizerConfig(groups=(("added", 0.0), ("backbone", 0.0)))
        mesh = sharding.make_mesh(devices=jax.devices()[:1])
        state = train.plan_state(full, optimizer, mesh).init(KEY)
        full.export(jax.device_get(everything(state, "ema")), export)
    params = weights.load(export, "transformer")[1]
    same({name: x for name, x in params.items() if name != "subjects"}, base["transformer"])
    assert not params["subjects"]["index"].any()
    same(weights.load(export, "text_encoder")[1], base["text_encoder"])
    same(weights.load(export, "vae")[1], weights.load(directory, "vae")[1])
    if kind == "lora":
        found = load_file(export / "lora_diffusers.safetensors")
        assert not any(x.any() for name, x in found.items() if "lora_B" in name)
