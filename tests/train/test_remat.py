"""What layers keep, where a config leaves it to the devices: the choice, and that it stays."""

from __future__ import annotations

import dataclasses

import dit_setup
import jax
import pytest
import toy_task

from alchemint_jax import sharding
from alchemint_jax.train import OptimizerConfig, dit_remat, fit, plan_state, remat
from alchemint_jax.train.checkpoint import Checkpoints
from alchemint_jax.train.remat import GIB, Way, Ways

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]
KEPT = {"none": 8.0, "dots": 4.0, "attention": 2.0, "full": 1.0}


@dataclasses.dataclass(frozen=True)
class Choosing(toy_task.ToyTask):
    """The toy, whose step pretends to keep so many GiB."""

    keeps: str = "nothing"
    compute: str = "float32"

    def ways(self, batch, mesh, accumulate):
        each = (
            Way(name, dataclasses.replace(self, keeps=name), size * GIB)
            for name, size in KEPT.items()
        )
        return Ways(batch, tuple(each), self.compute)


def _plan(task=None):
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    return plan_state(task or Choosing(), OptimizerConfig(), mesh)


def _shapes(plan, size=16):
    place = sharding.batch_sharding(plan.mesh)
    return {
        name: jax.ShapeDtypeStruct((size, n), "float32", sharding=place)
        for name, n in (("x", 4), ("y", 3))
    }


@pytest.fixture
def compiled(monkeypatch):
    """Names of what was compiled, where the compiler finds what `needs` says, in GiB."""
    needs, asked = dict(KEPT), []

    def peak(plan, config, batch, way):
        asked.append(way.name)
        return float(needs[way.name] * GIB)

    monkeypatch.setattr(remat, "_peak", peak)
    return needs, asked


def _choose(gib, kept=None, size=16, **fields):
    plan = _plan(Choosing(**fields))
    with sharding.use_mesh(plan.mesh):
        ways = plan.task.ways(_shapes(plan, size), plan.mesh, 1)
        plan, choice = remat.settled(plan, OptimizerConfig(), ways, kept, gib * GIB)
    assert plan.task.keeps == choice.policy
    return choice


def test_much_memory_keeps_everything_and_little_keeps_little(compiled):
    needs, asked = compiled
    assert _choose(17).policy == "none" and asked == []  # what must fit is not compiled
    assert _choose(9).policy == "none" and asked == ["none"]
    asked.clear()
    # Of 7 GiB, 8 are too many by a guess that may be wrong, and 4 too many to be sure.
    assert _choose(7).policy == "dots" and asked == ["none", "dots"]
    asked.clear()
    assert _choose(3).policy == "attention" and asked == ["attention"]
    assert _choose(0.1).policy == "full"  # nothing fits: the one that needs least


def test_the_compiler_is_believed_and_not_the_guess(compiled):
    needs, _ = compiled
    assert _choose(9).policy == "none"
    needs["none"] = 8.9
    choice = _choose(9)
    assert choice.policy == "dots" and "none (compiled, 8.9 GiB)" in choice.why
    needs["none"] = 5.0
    assert _choose(7).policy == "none"


def test_a_choice_stays_for_the_same_and_is_made_again_for_another(compiled):
    first = _choose(9)
    assert _choose(3, first.note()).policy == first.policy == "none"
    assert _choose(3, first.note(), size=32).policy == "attention"  # another batch
    assert _choose(3, first.note(), compute="bfloat16").policy == "attention"
    assert _choose(3, {"policy": "gone", "where": first.where}).policy == "attention"


def test_a_task_without_ways_is_left_alone():
    plan = _plan()
    assert remat.settled(plan, OptimizerConfig(), None) == (plan, None)


def test_the_compiler_knows_what_a_step_needs_and_the_machine_what_there_is():
    plan = _plan()
    with sharding.use_mesh(plan.mesh):
        needed = remat._peak(
            plan, OptimizerConfig(), _shapes(plan), Way("none", dataclasses.replace(plan.task), 0.0)
        )
        there = remat.memory_of_devices(plan)
    assert sharding.shard_bytes(plan.abstract) < needed < GIB / 100
    assert GIB / 16 < there < 2**50


def test_a_run_that_goes_on_keeps_its_choice(tmp_path, monkeypatch, capsys, compiled):
    monkeypatch.setattr(remat, "memory_of_devices", lambda plan: 17 * GIB)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    fit(Choosing(), toy_task.config(2), tmp_path, mesh=mesh)
    assert "remat none: guessed 8 of 17 GiB" in capsys.readouterr().err
    with Checkpoints(tmp_path / "checkpoints") as found:
        assert found.notes(2)["remat"]["policy"] == "none" and found.examples(2) == 32
    monkeypatch.setattr(remat, "memory_of_devices", lambda plan: 3 * GIB)
    fit(Choosing(), toy_task.config(3), tmp_path, mesh=mesh)
    assert "remat none: as before" in capsys.readouterr().err
    fit(Choosing(), toy_task.config(2), tmp_path / "new", mesh=mesh)
    assert "remat attention: compiled, 2 of 3 GiB; too large: none" in capsys.readouterr().err


def test_ways_of_the_transformer_keep_less_and_less():
    plan = dit_setup.plan_of(sharding.make_mesh(devices=jax.devices()[:1]))
    place = sharding.batch_sharding(plan.mesh)
    with sharding.use_mesh(plan.mesh):

        def ways(task, size=8, accumulate=1):
            batch = {
                name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
                for name, x in dit_setup.batch(size).items()
            }
            return dit_remat.ways(task, batch, plan.mesh, accumulate)

        found = ways(plan.task)
        sizes = [way.guess for way in found.ways]
        assert [way.name for way in found.ways] == list(KEPT)  # on CPUs none is moved to the host
        assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0]
        assert [way.guess for way in ways(plan.task, 16).ways] == pytest.approx(
            [2 * size for size in sizes]
        )
        assert [way.guess for way in ways(plan.task, 16, 2).ways] == pytest.approx(sizes)
        assert {way.task.model.remat for way in found.ways} == set(KEPT)
        model = dataclasses.replace(plan.task.model, remat="dots")
        assert ways(dataclasses.replace(plan.task, model=model)) is None
    # 12 video tokens, and two references of 4 with words of 2 tokens.
    assert dit_remat.tokens(plan.task, found.batch) == 24


def test_the_choice_is_for_the_largest_bucket():
    plan = dit_setup.plan_of(sharding.make_mesh(devices=jax.devices()[:1]))
    place = sharding.batch_sharding(plan.mesh)
    batch = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
        for name, x in dit_setup.batch().items()
    }
    buckets = [
        {"latents": [1, 8, 8, 4], "references": [2, 1, 8, 8, 4]},
        {"latents": [5, 6, 4, 4], "references": [2, 1, 6, 4, 4]},
    ]
    found = dit_remat.largest(batch, {"buckets": buckets})
    assert found["latents"].shape == (8, 5, 6, 4, 4)
    assert found["references"].shape == (8, 2, 6, 4, 4)
    assert found["text_ids"] is batch["text_ids"]
