from __future__ import annotations

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_task import ToyTask, config

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.train import jit_train_step, plan_state
from alchemint_jax.train.checkpoint import Checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]


@pytest.fixture(scope="module", autouse=True)
def forget_what_was_trained():
    yield
    trained.cache_clear()


def run(task, mesh, steps=4, optimizer=None, events=None):
    """The state after some steps, and the metrics of each."""
    c = config(optimizer=optimizer or {}).optimizer
    plan = plan_state(task, c, mesh)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    with sharding.use_mesh(mesh):
        state, history = plan.init(key), []
        step, data = jit_train_step(plan, c), iter(task.train_data())
        batches = [sharding.put_batch(next(data), mesh) for _ in range(steps)]
        with events if events else contextlib.nullcontext():
            for batch in batches:
                state, metrics = step(state, batch, key)
                history.append(metrics)
            jax.block_until_ready(state)
    return state, jax.device_get(history)


@functools.cache
def trained(steps):
    """The default task after some steps on one device."""
    return run(ToyTask(), one_device(), steps)


def close(a, b, tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=0), a, b)


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


class Compiles:
    """Counts what XLA compiles; tracing once is not enough, a changed sharding compiles again."""

    def __enter__(self):
        self.names = []
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self._heard)

    def _heard(self, name, seconds, **_):
        if "backend_compile" in name:
            self.names.append(name)


@pytest.mark.parametrize("sizes", [{"data": 8}, {"data": 2, "fsdp": 2, "tensor": 2}])
def test_steps_compile_once(sizes):
    events = Compiles()
    run(ToyTask(), sharding.make_mesh(**sizes), steps=5, events=events)
    assert len(events.names) == 1


def test_a_restored_state_compiles_nothing(tmp_path):
    task, c = ToyTask(), config().optimizer
    plan = plan_state(task, c, sharding.make_mesh(data=2, fsdp=4))
    key = jax.device_put(jax.random.key(0), sharding.replicated(plan.mesh))
    with sharding.use_mesh(plan.mesh), Checkpoints(tmp_path) as checkpoints:
        step, data = jit_train_step(plan, c), iter(task.train_data())
        state, _ = step(plan.init(key), sharding.put_batch(next(data), plan.mesh), key)
        checkpoints.save(1, state, 16)
        checkpoints.wait()
        restored = checkpoints.restore(1, plan.abstract)
        batch = sharding.put_batch(next(data), plan.mesh)
        with Compiles() as events:
            for fresh_or_not in (restored, state):
                jax.block_until_ready(step(fresh_or_not, batch, key))
    assert events.names == [] and step._cache_size() == 1


def test_eight_devices_do_what_one_does():
    one, history = trained(4)
    for sizes in ({"data": 8}, {"data": 1, "fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2}):
        many, other = run(ToyTask(), sharding.make_mesh(**sizes))
        close(one["params"], many["params"], 1e-5)
        close(one["ema"], many["ema"], 1e-5)
        close(history, other, 1e-4)
    fresh, _ = trained(0)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), one["params"], fresh["params"])
    assert max(jax.tree.leaves(moved)) > 1e-2, "test is vacuous: nothing was trained"


@pytest.mark.parametrize("method", ["adamw", "muon"])
def test_optimizer_state_and_average_are_really_sharded(method):
    mesh = sharding.make_mesh(data=1, fsdp=8)
    state, _ = run(ToyTask(width=256), mesh, steps=1, optimizer={"method": method})

    def bytes_on(device, tree):
        return sum(
            s.data.nbytes
            for x in jax.tree.leaves(tree)
            for s in x.addressable_shards
            if s.device == device
        )

    for name in ("params", "ema", "opt"):
        whole = sum(x.nbytes for x in jax.tree.leaves(state[name]))
        for device in jax.devices():
            assert bytes_on(device, state[name]) < 0.17 * whole, name  # 1/8, and small biases


def test_fresh_state_is_the_same_on_any_mesh():
    # Not a matter of course: without partitionable random bits, layout would change values.
    a, _ = trained(0)
    b, _ = run(ToyTask(), sharding.make_mesh(data=1, fsdp=8), steps=0)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_accumulation_is_the_mean_over_the_parts():
    task = ToyTask(batch=16, noise=0.0)
    one, history = run(task, sharding.make_mesh(), optimizer={"accumulate": 1})
    two, other = run(task, sharding.make_mesh(), optimizer={"accumulate": 2})
    close(one["params"], two["params"], 1e-6)
    np.testing.assert_allclose([h["loss"] for h in history], [h["loss"] for h in other], atol=1e-6)


def test_a_batch_that_does_not_divide_into_parts_is_refused():
    with pytest.raises(ConfigError, match=r"batch of 16 .* 4 parts .* multiple of 32"):
        run(ToyTask(batch=16), sharding.make_mesh(), steps=1, optimizer={"accumulate": 4})


def test_parts_of_a_batch_see_different_noise():
    task = ToyTask(batch=16, noise=1.0)
    _, a = run(task, one_device(), steps=1, optimizer={"accumulate": 1})
    _, b = run(task, one_device(), steps=1, optimizer={"accumulate": 2})
    assert abs(a[0]["loss"] - b[0]["loss"]) > 1e-4


def test_rate_of_zero_leaves_every_bit():
    before, _ = trained(0)
    after, history = run(ToyTask(), sharding.make_mesh(), optimizer={"groups": (("all", 0.0),)})
    assert history[0]["grad_norm"] > 0
    for name in ("params", "ema"):
        jax.tree.map(np.testing.assert_array_equal, before[name], after[name])
    assert int(after["step"]) == 4


def test_groups_have_their_own_rates():
    frozen = {"groups": (("all", 1e-2), ("slow", 0.0))}
    before, _ = run(ToyTask(slow_group=True), one_device(), steps=0, optimizer=frozen)
    after, history = run(ToyTask(slow_group=True), one_device(), optimizer=frozen)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before["params"], after["params"])
    assert all(same["out"].values()) and not any(same["mid"].values())
    assert history[0]["lr/slow"] == 0 and history[0]["lr/all"] == np.float32(1e-2)


def test_step_is_a_function_of_seed_and_step():
    a, first = trained(4)
    b, second = run(ToyTask(), one_device())
    jax.tree.map(np.testing.assert_array_equal, (a, first), (b, second))
    # The same batch at another step draws other noise.
    task, c = ToyTask(noise=1.0), config(optimizer={"groups": (("all", 0.0),)}).optimizer
    plan = plan_state(task, c, one_device())
    with sharding.use_mesh(plan.mesh):
        key = jax.device_put(jax.random.key(0), sharding.replicated(plan.mesh))
        batch = sharding.put_batch(next(iter(task.train_data())), plan.mesh)
        step, state = jit_train_step(plan, c), plan.init(key)
        state, one = step(state, batch, key)
        state, two = step(state, batch, key)
    assert float(one["loss"]) != float(two["loss"])
