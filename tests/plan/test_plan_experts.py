"""A pair of experts: the one that waits takes memory, and may be what does not fit."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from tiny_plan import TINY, needs_libtpu

from alchemint_jax.plan.estimate import Plan
from alchemint_jax.plan.experts import SECOND, with_second_expert
from alchemint_jax.plan.search import plan

pytestmark = pytest.mark.slow

ONE = Plan(
    what={"config": "a"},
    fits=True,
    memory={"weights": 4000.0, "activations": 1000.0},
    peak=5000.0,
    available=9000.0,
    host=0.0,
    model_flops=1.0,
    program_flops=1.0,
    compiler_flops=1.0,
    collectives={},
    seconds={"compute": 1.0, "memory": 1.0, "collectives": 0.0},
    tokens=1,
    chips=1,
    peak_flops=1.0,
    compile_seconds=0.0,
)


def weights(numbers):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return {"w": jax.ShapeDtypeStruct((numbers,), jnp.float32, sharding=place)}


def test_the_second_expert_is_held_beside_the_first():
    both = with_second_expert(ONE, weights(1000))
    assert both.memory == ONE.memory | {SECOND: 4000}
    assert both.peak == sum(both.memory.values()) == 9000 == both.available and both.fits
    assert both.what == {"config": "a", "experts": 2}
    assert (both.seconds, both.model_flops) == (ONE.seconds, ONE.model_flops)


def test_it_may_be_what_does_not_fit():
    assert not with_second_expert(ONE, weights(1001)).fits
    assert not with_second_expert(dataclasses.replace(ONE, fits=False), weights(1)).fits


@needs_libtpu
def test_a_boundary_makes_a_plan_of_two():
    overrides = (*TINY.overrides, "sampling.boundary=0.875")
    request = dataclasses.replace(TINY, step="sample", overrides=overrides, remat=None)
    found = plan(request)
    assert found.memory[SECOND] == found.memory["weights"] > 0
    assert found.peak == pytest.approx(sum(found.memory.values()))
    assert found.as_dict()["experts"] == 2
