"""A training step of the transformer on every kind of mesh: the same numbers, really split."""

from __future__ import annotations

import functools

import dit_setup
import jax
import numpy as np
import pytest

from alchemint_jax import sharding

pytestmark = pytest.mark.slow

MESHES = {
    "one": {"data": 1},
    "fsdp": {"data": 1, "fsdp": 8},
    "context": {"data": 1, "context": 8},
    # Three heads on two devices.
    "data, fsdp and tensor": {"data": 2, "fsdp": 2, "tensor": 2},
    "fsdp, context and tensor": {"data": 1, "fsdp": 2, "context": 2, "tensor": 2},
}


@pytest.fixture(scope="module", autouse=True)
def forget_the_steps():
    yield
    stepped.cache_clear()


@functools.cache
def stepped(name):
    """What went into a step, what came out, and the executable."""
    count = int(np.prod(list(MESHES[name].values())))
    mesh = sharding.make_mesh(**MESHES[name], devices=jax.devices()[:count])
    plan = dit_setup.plan_of(mesh)
    compiled = dit_setup.compiled_step(plan)
    host = dit_setup.trained(plan)
    state = jax.device_put(host, plan.shardings)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    after, metrics = compiled(state, sharding.put_batch(dit_setup.batch(), mesh), key)
    return host, state, after, metrics, compiled


@pytest.mark.parametrize("name", [name for name in MESHES if name != "one"])
def test_every_mesh_does_what_one_device_does(name):
    (before, _, one, figures, alone), (_, _, after, metrics, compiled) = map(stepped, ("one", name))
    for a, b in zip(
        jax.tree.leaves((one, figures)), jax.tree.leaves((after, metrics)), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before["params"], one["params"])
    assert min(jax.tree.leaves(moved["transformer"])) > 1e-4, "some parameters were not trained"
    # Nothing that grows with the batch or the sequence is whole on a device.
    assert len(compiled.input_shardings[0][0]["step"].device_set) == 8
    share = compiled.memory_analysis().temp_size_in_bytes
    share /= alone.memory_analysis().temp_size_in_bytes
    assert share < 0.3, share


def bytes_per_device(tree):
    held = dict.fromkeys(jax.devices(), 0)
    for x in jax.tree.leaves(tree):
        for shard in x.addressable_shards:
            held[shard.device] += shard.data.nbytes
    return held


@pytest.mark.parametrize(("name", "most"), [("fsdp", 0.17), ("data, fsdp and tensor", 0.45)])
def test_the_whole_state_is_split(name, most):
    _, _, after, _, _ = stepped(name)
    for part in ("params", "ema", "opt", "frozen"):
        whole = sum(x.nbytes for x in jax.tree.leaves(after[part]))
        held = bytes_per_device(after[part])
        assert max(held.values()) < most * whole, (part, max(held.values()) / whole)


@pytest.mark.parametrize("name", ["fsdp", "fsdp, context and tensor"])
def test_the_state_is_donated(name):
    _, state, after, _, compiled = stepped(name)
    assert all(x.is_deleted() for x in jax.tree.leaves(state))
    held = max(bytes_per_device(after).values())
    assert compiled.memory_analysis().alias_size_in_bytes >= held
