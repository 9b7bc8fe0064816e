"""The search, with a compiler that finds what it is told to."""

from __future__ import annotations

import dataclasses
import math

import pytest
from tiny_plan import TINY, needs_libtpu

from alchemint_jax.errors import ConfigError
from alchemint_jax.plan import planner, search
from alchemint_jax.plan.estimate import Plan
from alchemint_jax.plan.targets import GIB

pytestmark = [needs_libtpu, pytest.mark.slow]
LARGE = dataclasses.replace(
    TINY,
    overrides=("model.dim=1024", "model.n_layers=60", "model.ffn_dim=4096", "model.n_heads=8"),
    size=(480, 832),
    frames=17,
)


@pytest.fixture
def compiler(monkeypatch):
    """`compiler(needs)` makes plans of `needs(setup)` bytes, and lists what was asked for."""
    asked = []

    def install(needs):
        def plan_setup(setup):
            asked.append((dict(setup.mesh), setup.task.model.remat, setup.optimizer.accumulate))
            peak, available = float(needs(setup)), 15.75 * GIB
            sizes = search._Sizes.of(setup)
            guess = search.guess(
                sizes, setup.mesh, setup.task.model.remat, setup.optimizer.accumulate
            )
            seconds = {"compute": guess.seconds, "memory": 0.0, "collectives": 0.0}
            return Plan(
                what={"mesh": str(setup.mesh)},
                fits=peak <= available,
                memory={},
                peak=peak,
                available=available,
                host=0.0,
                model_flops=1.0,
                program_flops=1.0,
                compiler_flops=0.0,
                collectives={},
                seconds=seconds,
                tokens=1,
                chips=8,
                peak_flops=1.0,
                compile_seconds=0.0,
            )

        monkeypatch.setattr(search, "plan_setup", plan_setup)
        return asked

    return install


def test_what_fits_at_once_is_compiled_and_little_else(compiler):
    asked = compiler(lambda setup: GIB)
    lines = []
    plan = search.search(LARGE, lines.append)
    assert plan.fits and 1 <= len(asked) == len(lines) <= 6
    guesses = sorted(search.candidates(planner.prepare(LARGE)), key=lambda c: c.seconds)
    likely = [c for c in guesses if c.memory <= 1.25 * 15.75 * GIB]
    assert asked[0] == (likely[0].mesh, likely[0].remat, likely[0].accumulate)


def test_what_keeps_too_much_is_given_up_for_what_keeps_less(compiler):
    asked = compiler(lambda setup: GIB if setup.task.model.remat == "full" else 99 * GIB)
    plan = search.search(LARGE, lambda line: None)
    assert plan.fits and "full" in {remat for _, remat, _ in asked}
    assert (
        len(asked) <= 6
        and not all(t["fits"] for t in plan.what["tried"])
        and any(t["fits"] for t in plan.what["tried"])
    )


def test_nothing_is_moved_to_the_host_where_all_fits_without(compiler):
    least = ("full", "offload")
    asked = compiler(lambda setup: GIB if setup.task.model.remat in least else 99 * GIB)
    assert search.search(LARGE, lambda line: None).fits
    assert "full" in {remat for _, remat, _ in asked}
    assert "offload" not in {remat for _, remat, _ in asked}
    asked.clear()
    compiler(lambda setup: GIB if setup.task.model.remat == "offload" else 99 * GIB)
    assert search.search(LARGE, lambda line: None).fits  # but where nothing else fits it is found


def test_where_nothing_fits_the_smallest_is_told(compiler):
    asked = compiler(lambda setup: (99 + len(setup.mesh)) * GIB)
    plan = search.search(LARGE, lambda line: None)
    assert not plan.fits and 1 <= len(asked) <= 6
    assert all(not t["fits"] for t in plan.what["tried"])


def test_auto_is_the_fastest_policy_that_fits_on_the_mesh(compiler):
    request = dataclasses.replace(LARGE, mesh={"fsdp": 4, "context": 2}, frames=9, remat="auto")
    for fits in ("dots", "attention", "full", "offload"):
        order = list(search.POLICIES)
        least = order[order.index(fits) :]
        asked = compiler(lambda setup, least=least: (1 if _policy(setup) in least else 17) * GIB)
        asked.clear()
        lines = []
        plan = search.plan(request, lines.append)
        # One after the other, without those that are far too large, and none after one that fits.
        names = [policy for _, policy, _ in asked]
        assert names[-1] == fits and order.index(fits) + 1 >= len(names) == len(lines)
        assert names == [name for name in order if name in names]
        assert plan.fits and [t["fits"] for t in plan.what["tried"]] == [False] * (
            len(names) - 1
        ) + [True]
        assert {tuple(mesh.items()) for mesh, _, _ in asked} == {
            (("data", 1), ("fsdp", 4), ("context", 2), ("tensor", 1))
        }


def test_much_memory_keeps_everything(compiler):
    asked = compiler(lambda setup: GIB)
    assert search.plan(dataclasses.replace(TINY, remat="auto")).fits
    assert [policy for _, policy, _ in asked] == ["none"]
    asked.clear()
    search.plan(dataclasses.replace(TINY, remat="full"))
    assert [policy for _, policy, _ in asked] == ["full"]  # what is asked for is done


def _policy(setup):
    return setup.task.model.remat


def test_candidates_divide_heads_and_batches():
    setup = planner.prepare(dataclasses.replace(LARGE, batch=(4, "all")))
    found = list(search.candidates(setup))
    assert found
    for c in found:
        assert math.prod(c.mesh.values()) == 8 and 8 % c.mesh["tensor"] == 0
        assert 4 % (c.mesh["data"] * c.mesh["fsdp"] * c.accumulate) == 0
    assert {c.remat for c in found} == set(search.POLICIES)


def test_a_policy_that_keeps_less_needs_less_and_takes_no_less_time():
    setup = planner.prepare(LARGE)
    sizes = search._Sizes.of(setup)
    mesh = {"data": 1, "fsdp": 8, "context": 1, "tensor": 1}
    guesses = [search.guess(sizes, mesh, policy, 1) for policy in search.POLICIES]
    memories, seconds = [g.memory for g in guesses], [g.seconds for g in guesses]
    assert memories == sorted(memories, reverse=True) and seconds == sorted(seconds)


def test_a_batch_that_no_mesh_can_split_is_refused():
    with pytest.raises(ConfigError, match="--batch"):
        search.search(dataclasses.replace(LARGE, batch=(3, "all"), target="v5e:16x16"), print)
