"""Tiny steps compiled for TPUs that are not there; where libtpu is installed (Linux x86-64)."""

from __future__ import annotations

import dataclasses
import functools
import json
import math

import jax
import pytest
from tiny_plan import CONFIG, TINY, needs_libtpu

from alchemint_jax import cli, sharding
from alchemint_jax.compilation import refused
from alchemint_jax.errors import ConfigError
from alchemint_jax.plan import planner
from alchemint_jax.plan.compile import read
from alchemint_jax.plan.estimate import make_plan
from alchemint_jax.plan.flops import text_flops, traced_flops
from alchemint_jax.plan.plan_text import as_text
from alchemint_jax.plan.search import plan
from alchemint_jax.sampling.control import Gating, TempoControl, Together
from alchemint_jax.sharding import shard_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimised")]


@functools.cache
def _compiled(target, mesh):
    """Plan, step and executable of the tiny config; one compilation for each pair."""
    request = dataclasses.replace(TINY, target=target, mesh=dict(mesh))
    setup = planner.prepare(request)
    device_mesh = sharding.make_mesh(**planner.complete(setup.mesh), devices=setup.devices)
    step = planner.trace(setup, device_mesh)
    compiled = step.traced.lower().compile()
    what = planner.describe(setup, device_mesh)
    devices = list(device_mesh.devices.flat)
    return make_plan(what, step, read(compiled), setup.target, devices), step, compiled


EIGHT = ("v5e:2x4", (("data", 8),))
SPLIT = ("v5p:2x2x1", (("fsdp", 2), ("context", 2)))


@needs_libtpu
@pytest.mark.parametrize("case", [EIGHT, SPLIT], ids=["v5e", "v5p"])
def test_memory_is_split_by_kind_and_bounded_by_what_there_is(case):
    plan, step, compiled = _compiled(*case)
    assert plan.fits and plan.peak < plan.available
    assert sum(plan.memory.values()) == pytest.approx(plan.peak)
    given = compiled.memory_analysis().argument_size_in_bytes
    assert sum(shard_bytes(tree) for tree in step.kinds.values()) == pytest.approx(given, rel=0.1)
    assert given < plan.peak
    # Two moments, as large as the weights and the average.
    assert plan.memory["moments"] == pytest.approx(2 * plan.memory["weights"], rel=0.01)
    assert plan.memory["average"] == plan.memory["weights"]
    assert plan.memory["activations"] > 0 and plan.memory["gradients"] > 0


@needs_libtpu
def test_what_shares_a_sequence_shares_the_weights():
    whole, split = (_compiled(*case)[0].memory["weights"] for case in (EIGHT, SPLIT))
    assert 3 < whole / split <= 4.1


@needs_libtpu
def test_collectives_are_those_of_the_mesh():
    alone, both = _compiled(*EIGHT)[0], _compiled(*SPLIT)[0]
    weights = alone.memory["weights"]
    # Copies of the weights exchange their gradients, most in bfloat16, and little else.
    assert {name.split()[1] for name in alone.collectives} == {"ici"}
    assert 0.5 <= alone.total("payload") / weights < 0.6
    assert max(alone.collectives, key=lambda k: alone.collectives[k]["payload"]).startswith("all-r")
    assert any(name.startswith("all-gather") for name in both.collectives)
    assert both.seconds["collectives"] == pytest.approx(both.total("seconds"))


@needs_libtpu
def test_eight_times_the_copies_exchange_no_more():
    few, many = _compiled(*EIGHT)[0], _compiled("v5e:8x8", (("data", 64),))[0]
    assert many.chips == 8 * few.chips and few.total("payload") > 0
    assert many.total("payload") <= 1.03 * few.total("payload")
    # A ring of 64 sends 63/64 of it twice, one of 8 sends 7/8.
    assert many.total("sent") <= 1.03 * few.total("sent") * (63 / 64) / (7 / 8)


@needs_libtpu
@pytest.mark.parametrize("case", [EIGHT, SPLIT], ids=["v5e", "v5p"])
def test_a_step_leaves_the_state_as_the_next_one_takes_it(case):
    """So that there is one compilation for each shape; and no second copy of the state."""
    _, step, compiled = _compiled(*case)
    (state, *_), _ = compiled.input_shardings
    new, _ = compiled.output_shardings
    shapes = jax.tree.leaves(step.traced.out_info[0])
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(new), shapes, strict=True)
    assert all(old.is_equivalent_to(out, x.ndim) for old, out, x in pairs)
    kept = compiled.memory_analysis().alias_size_in_bytes
    trained = sum(shard_bytes(step.kinds[kind]) for kind in ("weights", "average", "moments"))
    assert kept >= 0.99 * trained


@needs_libtpu
def test_the_same_step_is_the_same_program():
    """A restarted run finds it in the compilation cache."""
    first = _compiled(*EIGHT)[1]
    setup = planner.prepare(TINY)
    again = planner.trace(setup, sharding.make_mesh(data=8, devices=setup.devices))
    assert again.traced.lower().as_text() == first.traced.lower().as_text()


@needs_libtpu
def test_what_is_too_large_is_said_to_be_with_what_is_missing(capsys):
    changes = [f"--config.model.{x}" for x in ("dim=1024", "n_heads=8", "ffn_dim=4096")]
    sizes = ["--size", "64x64", "--frames", "5", "--references", "0"]
    layers = ["--config.model.n_layers=400", "--json", "--mesh", "fsdp=4"]
    run = ["plan", "--config", CONFIG, "--target", "v5e:2x2", *changes, *sizes, *layers]
    assert cli.main(run) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["fits"] is False and plan["spare_gib"] < -1
    assert plan["peak_gib"] > plan["available_gib"] == 15.75


@needs_libtpu
def test_a_plan_without_a_batch_has_one_that_fits_the_config_and_the_mesh():
    larger = CONFIG.replace("wan_1_3b", "wan_14b")  # works a batch off in two parts
    for step, batch in (("train", 8), ("sample", 4)):
        setup = planner.prepare(planner.Request(larger, "v5e:2x2", step=step))
        assert setup.work.batch == batch
    request = dataclasses.replace(
        TINY, config=larger, target="v5e:2x2", size=None, references=1, frames=None
    )
    setup = planner.prepare(request)
    mesh = sharding.make_mesh(fsdp=4, data=1, devices=setup.devices)
    batch = planner.steps.dit_batch(setup.task, setup.work, mesh)
    # Clips of 81 frames of 480 x 832 pixels, and pictures as large.
    assert batch["latents"].shape == (8, 21, 60, 104, 16)
    assert batch["references"].shape == (8, 1, 60, 104, 16)


@needs_libtpu
def test_latents_are_those_of_the_autoencoder_of_the_config():
    sprites = CONFIG.replace("wan_1_3b", "sprites")
    setup = planner.prepare(planner.Request(sprites, "v5e:2x2", step="sample"))
    assert planner.steps.latent_grid(setup.task, setup.work) == (9, 16, 16, 8, 8)
    with pytest.raises(ConfigError, match="train_text=False --config.init_from=sprites"):
        plan(planner.Request(sprites, "v5e:2x2"))


@needs_libtpu
def test_a_frozen_text_encoder_is_in_the_step_unless_its_states_are_cached():
    steps = {}
    for cached in (True, False):
        overrides = (*TINY.overrides, f"cached_text={cached}")
        setup = planner.prepare(dataclasses.replace(TINY, overrides=overrides, remat="none"))
        mesh = sharding.make_mesh(**planner.complete(setup.mesh), devices=setup.devices)
        steps[cached] = planner.trace(setup, mesh)
    frozen = {cached: shard_bytes(step.kinds["frozen weights"]) for cached, step in steps.items()}
    assert frozen[True] == 0
    assert frozen[False] * 8 == pytest.approx(21.2 * 2**30, rel=0.01)  # umT5-XXL's, in float32
    assert shard_bytes(steps[False].kinds["weights"]) == shard_bytes(steps[True].kinds["weights"])
    # It is run forward only: on 8 captions, as many words of two subjects, and one empty caption.
    more = steps[False].model_flops - steps[True].model_flops
    text, work = setup.task.text, setup.work
    words = text_flops(text, setup.task.sampling.tag_length)
    assert more == pytest.approx(9 * text_flops(text, 512) + work.batch * 2 * words)
    counted = {cached: traced_flops(step.traced.jaxpr.jaxpr) for cached, step in steps.items()}
    assert counted[False] - counted[True] == pytest.approx(more, rel=0.02)


@needs_libtpu
def test_sampling_is_planned_with_gating():
    request = dataclasses.replace(TINY, target=SPLIT[0], mesh=dict(SPLIT[1]), step="sample")
    counts, flops = [], []
    for control in (None, Gating(8.0), Together((Gating(8.0), TempoControl(iterations=1)))):
        setup = planner.prepare(dataclasses.replace(request, control=control))
        mesh = sharding.make_mesh(**planner.complete(setup.mesh), devices=setup.devices)
        step = planner.trace(setup, mesh)
        counts.append(len(jax.tree.leaves(step.kinds["batch"])))
        said = planner.describe(setup, mesh).get("control")
        assert said == (None if control is None else repr(control))
        flops.append(traced_flops(step.traced.jaxpr.jaxpr))
    assert counts[2] == counts[1] == counts[0] + 1  # which tokens are of which word
    assert flops[2] > 1.5 * flops[1] > 1.4 * flops[0]  # a gradient costs more than a pass


@pytest.mark.parametrize("control", ["gating", "tempo"])
def test_control_is_not_planned_for_training(capsys, control):
    arguments = ["plan", "--config", CONFIG, "--target", "v5e:2x2", f"--{control}"]
    assert cli.main(arguments) == 2
    assert f"--{control} is of sampling; give --step sample" in capsys.readouterr().err


def test_both_messages_of_the_compiler_are_understood():
    first = "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    first += "temporaries (259.07G) exceeds available HBM (15.75G)."
    second = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 25.01G of 15.75G hbm."
    assert refused(first) == (259.07 * 2**30, 15.75 * 2**30)
    assert refused(second) == (25.01 * 2**30, 15.75 * 2**30)
    assert refused("INVALID_ARGUMENT: something else") is None


@needs_libtpu
def test_the_text_says_what_matters():
    plan = _compiled(*EIGHT)[0]
    text = as_text(plan)
    for part in ("fits", "weights", "all-reduce", "MFU at most", "tokens/s", "data=8"):
        assert part in text
    lost = dataclasses.replace(plan, fits=False, peak=plan.available + 3 * 2**30, collectives={})
    assert "does not fit: 3.0 GiB are missing" in as_text(lost)
    assert math.isfinite(plan.mfu) and 0 < plan.mfu < 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": (33, 32)}, "multiples of 16"),
        ({"frames": 6}, "4k"),
        ({"batch": (3, "all")}, "cannot be split"),
        ({"mesh": {"fsdp": 3}}, "needs"),
        ({"target": "v5e:3"}, "2 sides"),
        ({"step": "train", "overrides": ("train_text=True",)}, "train_text"),
    ],
)
@needs_libtpu
def test_mistakes_are_named(changes, says):
    with pytest.raises(ConfigError, match=says):
        plan(dataclasses.replace(TINY, **changes))
