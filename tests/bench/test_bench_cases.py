"""What is measured, and how much work that is: from sizes, and as JAX traces it."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
from tiny_bench import CONFIG, TINY, tiny

from alchemint_jax.bench import hardware, programs, suite
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.lora import LoraConfig
from alchemint_jax.models.vae import VARIANTS
from alchemint_jax.plan import steps
from alchemint_jax.plan.flops import traced_flops
from alchemint_jax.plan.steps import Work
from alchemint_jax.plan.targets import CHIPS, parse_target, topology_devices
from alchemint_jax.sampling.control import Gating
from alchemint_jax.train.optimizer import OptimizerConfig

pytestmark = pytest.mark.slow

# Google's names count chips of some (v5e, v6e) and cores of others; a chip is one device or two.
TARGETS = {"v3": "v3-8", "v4": "v4-8", "v5e": "v5e-4", "v5p": "v5p-8", "v6e": "v6e-4"}
TARGETS["tpu7x"] = "tpu7x-8"
DEVICES = {"v3": 8, "v4": 4, "v5e": 4, "v5p": 4, "v6e": 4, "tpu7x": 8}


def test_the_cases_without_a_config():
    cases = {case.name: case for case in suite.default_cases()}
    for batch in (1, 4):
        for kind in ("forward", "train"):
            case = cases[f"dit-{kind}-b{batch}"]
            model, tokens = case.task.model, case.tokens
            assert (model.dim, model.n_heads, model.n_layers) == (512, 8, 4)
            assert (tokens.video, tokens.total, tokens.text) == (1024, 1024, 512)
            assert case.units == (batch * 1024, "video tokens")
            assert case.dtype == "float32" and case.no_counterpart() is None
    for kind in ("encode", "decode"):
        case = cases[f"vae-{kind}"]
        assert case.vae == VARIANTS["wan2.1"] and case.grid == (9, 16, 16)
        assert case.units == (33, "frames") and not case.tiled and case.no_counterpart() is None
    train, sample = cases["sprites-train"], cases["sprites-sample"]
    assert train.tokens.video == 9 * 8 * 8 and train.tokens.references == 3 * 4 * 4
    assert train.work.batch == train.task.loader.batch_size == 8 and train.task.train_text
    assert sample.tokens.video == 9 * 8 * 8 and sample.branches == 2
    assert "references" in str(train.no_counterpart())
    assert "references" in str(sample.no_counterpart())
    tiny = cases["vae-decode-tiny"]
    assert tiny.grid == (9, 16, 16) and tiny.describe()["widths"] == (256, 128, 64, 64)
    assert len(cases) == 9


def test_wan_at_480p():
    wan = CONFIG.replace("sprites.py", "wan_1_3b.py")
    cases = suite.config_cases(wan, None, (), size=(480, 832), frames=81, references=2)
    forward, train, _, _, decode = cases
    assert forward.tokens.video == train.tokens.video == 32760
    assert forward.tokens.references == 2 * 30 * 52 and forward.tokens.text == 512
    assert forward.dtype == "bfloat16" and decode.dtype == "float32" and decode.tiled
    assert train.task.model.remat == "auto" and train.work.batch == 8  # devices of the tests
    # A layer's attention and whole videos are measured where they are asked for.
    (video,) = suite.config_cases(wan + ":fast", ["video"], (), size=(480, 832), frames=81)
    assert video.branches == 1 and video.describe()["steps"] == 4 and video.tiled
    # As it is by itself, with one more.
    assert suite.config_cases(wan, ["forward"])[0].tokens.references == 3 * 30 * 52


def test_a_batch_can_be_worked_off_in_the_parts_of_the_config():
    larger = CONFIG.replace("sprites.py", "wan_14b.py")
    (train,) = suite.config_cases(larger, ["train"])
    assert train.work.batch == 2 * 8


def test_cases_are_chosen_by_name_and_keep_their_order():
    assert suite.select(["a", "b", "c"], ["c", "a", "c"]) == ["a", "c"]
    assert suite.select(["a", "b"], None) == ["a", "b"]
    with pytest.raises(ConfigError, match="--case d: no such case here; there are a, b"):
        suite.select(["a", "b"], ["a", "d"])


@pytest.mark.parametrize("name", ["forward", "sample", "attention"])
def test_operations_are_those_that_jax_traces(name):
    case = tiny(name)
    traced = traced_flops(programs.build(case).trace().jaxpr.jaxpr)
    assert case.model_flops == pytest.approx(traced, rel=1e-9)
    twice = dataclasses.replace(case, work=dataclasses.replace(case.work, batch=4))
    assert twice.model_flops == 2 * case.model_flops


@pytest.mark.parametrize("name", ["forward", "sample"])
def test_events_and_the_gaps_between_them_are_tokens(name):
    case = tiny(name)
    model = dataclasses.replace(case.task.model, events=True)
    task = dataclasses.replace(case.task, model=model)
    found = dataclasses.replace(case, task=task, work=dataclasses.replace(case.work, events=2))
    assert found.tokens.events == 5 * task.sampling.event_length
    assert found.describe()["event_tokens"] == found.tokens.events
    traced = traced_flops(programs.build(found).trace().jaxpr.jaxpr)
    assert found.model_flops == pytest.approx(traced, rel=1e-9)
    assert found.model_flops > case.model_flops and "events" not in case.describe()
    with pytest.raises(ConfigError, match="2 events, but model.events is False"):
        dataclasses.replace(case, work=found.work)


def test_a_recipe_with_events_has_two():
    path = CONFIG.replace("sprites.py", "sprites_events.py")
    (case,) = suite.config_cases(path, ["train"], TINY)
    assert case.work.events == 2 and case.tokens.events == 5 * 32
    batch = programs.arrays(case, cached=False)
    assert batch["event_ids"].shape == batch["event_mask"].shape == (8, 5, 32)
    assert (batch["event_intervals"][:, [0, -1], [0, 1]] == [0, 8.375]).all()
    assert batch["event_used"].all()
    (more,) = suite.config_cases(path, ["train"], TINY, events=4)
    assert more.tokens.events == 9 * 32 and more.model_flops > case.model_flops


@pytest.mark.parametrize("name", ["sample", "attention"])
def test_a_gate_is_further_channels(name):
    case = tiny(name)
    gated = programs.build(dataclasses.replace(case, gating=Gating())).trace().jaxpr.jaxpr
    assert traced_flops(gated) > case.model_flops
    if name == "attention":  # two more of queries and keys, none of values
        d = case.task.model.head_dim
        assert traced_flops(gated) == pytest.approx(case.model_flops * (d + 1) / d, rel=1e-9)


def test_a_video_is_all_steps_and_decoding():
    case, step, decoding = tiny("video"), tiny("sample"), tiny("vae-decode")
    alone = programs.build(decoding).trace().jaxpr.jaxpr
    traced = traced_flops(programs.build(case).trace().jaxpr.jaxpr)
    steps = case.task.sampling.steps
    assert steps > 1 and case.model_flops is None
    assert traced == pytest.approx(steps * step.model_flops + traced_flops(alone), rel=1e-9)


def test_tiles_may_be_as_large_as_frames():
    (whole,) = suite.config_cases(CONFIG, ["vae-decode"], TINY, size=(96, 96), frames=5, tile=96)
    (cut,) = suite.config_cases(CONFIG, ["vae-decode"], TINY, size=(96, 96), frames=5, tile=80)
    assert not whole.tiled and whole.describe()["how"] == "frame by frame"
    assert cut.tiled and cut.describe()["how"] == "in tiles"
    assert "tiles are of 256" in str(cut.no_counterpart()) and whole.no_counterpart() is None


def test_a_lora_costs_in_training_only():
    with_lora = {
        kind: dataclasses.replace(
            tiny(kind), task=dataclasses.replace(tiny(kind).task, lora=LORA, init_from="sprites")
        )
        for kind in ("forward", "train")
    }
    assert with_lora["forward"].model_flops == tiny("forward").model_flops
    assert with_lora["train"].model_flops < tiny("train").model_flops


LORA = LoraConfig(rank=1)
PLAIN = OptimizerConfig(groups=(("backbone", 1e-3), ("added", 1e-3)))


def frozen_text(case):
    return dataclasses.replace(case.task, train_text=False, init_from="sprites")


@pytest.mark.parametrize(
    ("task", "optimizer", "reason"),
    [
        ({}, {}, None),
        ({"train_text": True}, {}, "text encoder"),
        ({"lora": LORA}, {}, "LoRA"),
        ({}, {"method": "muon"}, "AdamW"),
        ({}, {"accumulate": 2}, "AdamW"),
    ],
)
def test_what_diffusers_cannot_do_is_named(task, optimizer, reason):
    case = tiny("train", references=0)
    task = dataclasses.replace(frozen_text(case), **task)
    optimizer = dataclasses.replace(PLAIN, **optimizer)
    found = dataclasses.replace(case, task=task, optimizer=optimizer).no_counterpart()
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (Work((20, 16), 5, 0, 1), "multiples of 8"),
        (Work((16, 16), 6, 0, 1), r"4k \+ 1"),
        (Work((16, 16), 5, 4, 1), "model.slots is 3"),
    ],
)
def test_work_that_does_not_fit_is_refused(work, says):
    case = tiny("forward")
    with pytest.raises(ConfigError, match=says):
        dataclasses.replace(case, work=work)


def test_references_of_odd_sizes_are_refused():
    with pytest.raises(ConfigError, match="references of 12x16: sides must be multiples of 8"):
        suite.config_cases(CONFIG, ["forward"], [*TINY, "sampling.reference_size=(12, 16)"])


def test_more_references_than_slots_make_slots():
    (case,) = suite.config_cases(CONFIG, ["forward"], TINY, references=5)
    assert case.task.model.slots == 5 and programs.arrays(case)["references"].shape[1] == 5


def test_a_made_up_batch_has_what_the_task_reads():
    case = tiny("train")
    batch = programs.arrays(case, cached=False)
    assert batch["latents"].shape == (2, 2, 6, 4, 8)
    assert batch["references"].shape == (2, 2, 4, 4, 8)
    assert batch["text_ids"].shape == (2, 112) and batch["tag_ids"].shape == (2, 2, 16)
    assert batch["used"].all() and (batch["intervals"][:, :, 0] == [0, 1.375]).all()
    assert batch["text_ids"].min() >= 3 and batch["text_ids"].max() < case.task.text.vocab


def test_the_autoencoder_is_the_named_one_or_one_that_fits():
    task = tiny("forward").task
    bundled = steps.autoencoder(task)  # `vae=sprites`
    assert bundled.z_dim == 8
    assert steps.autoencoder(dataclasses.replace(task, vae="not/here")) == bundled

    def channels(count):
        model = dataclasses.replace(task.model, in_channels=count, out_channels=count)
        return dataclasses.replace(task, model=model, vae="not/here")

    assert steps.autoencoder(channels(16)) == VARIANTS["wan2.1"]
    with pytest.raises(ConfigError, match="none with 5 channels"):
        steps.autoencoder(channels(5))


def test_a_training_step_has_a_clip_for_each_part_of_the_mesh():
    by_name = {c.name: c for c in suite.config_cases(CONFIG, None, TINY)}
    assert by_name["train"].work.batch == 8  # devices of the tests
    assert by_name["forward"].work.batch == 1
    assert by_name["forward"].task.loader == LoaderConfig(batch_size=8, seed=1)


def test_configs_of_other_tasks_are_refused():
    other = CONFIG.replace("sprites.py", "sprites_vae.py")
    with pytest.raises(ConfigError, match="only configs of the transformer"):
        suite.config_cases(other)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_every_tpu_is_known_by_the_name_that_jax_gives_it():
    assert set(TARGETS) == {name for name, chip in CHIPS.items() if chip.kind == "tpu"}
    for model, name in TARGETS.items():
        target = parse_target(name)
        devices = topology_devices(target)
        assert (target.chips, len(devices)) == (4, DEVICES[model])
        assert len({(*device.coords, device.core_on_chip) for device in devices}) == len(devices)
        assert hardware.peak_flops(devices, "bfloat16") == target.chips * CHIPS[model].flops
