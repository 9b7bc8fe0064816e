"""What attends on TPUs that are not there, and on long sequences: in programs and executables."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest
from tiny_plan import TINY, needs_libtpu

from alchemint_jax import sharding
from alchemint_jax.compilation import fresh_compilations
from alchemint_jax.ops.attention import attention, platform
from alchemint_jax.ops.splash import splash
from alchemint_jax.plan import collectives, planner
from alchemint_jax.plan.flops import traced_flops
from alchemint_jax.plan.targets import parse_target, topology_devices

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimised")]


@functools.cache
def _compiled(target, sizes, tokens, heads, implementation="auto"):
    """A gradient of masked self-attention of bfloat16, with heads of Wan's width."""
    mesh = sharding.make_mesh(
        **({"data": 1} | dict(sizes)), devices=topology_devices(parse_target(target))
    )
    x = jax.ShapeDtypeStruct((1, tokens, heads, 128), jnp.bfloat16)
    seen = jax.ShapeDtypeStruct((1, tokens), bool)

    def loss(q, k, v, seen):
        return jnp.sum(attention(q, k, v, seen, implementation).astype(jnp.float32) ** 2)

    place = sharding.replicated(mesh)
    with sharding.use_mesh(mesh), fresh_compilations():
        assert platform() == "tpu"
        run = jax.jit(jax.grad(loss, (0, 1, 2)), in_shardings=place, out_shardings=place)
        return run.lower(x, x, x, seen).compile()


@needs_libtpu
def test_a_tpu_attends_by_its_kernel_in_memory_that_grows_with_the_sequence():
    # Both are whole blocks of 640 tokens, which compile sooner than those of 1024.
    small, large = (_compiled("v5e:1x1", (), n, 2) for n in (1280, 2560))
    plain = _compiled("v5e:1x1", (), 512, 2, "xla")
    # One forward kernel; two backward ones, for the queries and for keys and values.
    assert [c.as_text().count('"tpu_custom_call"') for c in (small, large, plain)] == [3, 3, 0]
    peaks = [c.memory_analysis().peak_memory_in_bytes for c in (small, large, plain)]
    assert peaks[1] < 2.1 * peaks[0]
    assert peaks[0] < 2 * 1280**2 * 4, "it holds all probabilities"
    assert peaks[2] > 2 * 512**2 * 4, "test is vacuous: nothing holds all probabilities"


@needs_libtpu
def test_twelve_heads_of_a_split_sequence_attend_by_the_kernel():
    """Six heads of tensor's halves on four devices: pairs exchange heads, and fetch keys."""
    text = _compiled("v5e:2x4", (("context", 4), ("tensor", 2)), 1021, 12).as_text()
    assert text.count('"tpu_custom_call"') == 3
    found = [c for c in collectives.find(text) if c.kind == "all-to-all"]
    assert len(found) == 8 and all(len(c.group) == 2 for c in found)
    share = 256 * 6 * 128 * 2
    assert all(c.size == share and c.sent == share / 2 for c in found)


def _operations(jaxpr):
    """All operations of a program, those inside of loops and calls too, but not of kernels."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner) and eqn.primitive.name != "pallas_call":
                yield from _operations(getattr(inner, "jaxpr", inner))


def _is_jaxpr(x):
    return isinstance(x, jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr)


@needs_libtpu
@pytest.mark.parametrize("mesh", [{"data": 8}, {"context": 4, "tensor": 2}], ids=str)
def test_a_plan_of_a_long_clip_has_no_array_of_all_weights(mesh):
    """Two heads of 128; 5 latent frames of 30 x 52 tokens, two such pictures, and words."""
    sizes = ("model.dim=256", "model.n_heads=2", "model.n_layers=1", "model.ffn_dim=512")
    request = dataclasses.replace(TINY, overrides=sizes, size=(480, 832), frames=17, mesh=mesh)
    setup = planner.prepare(request)
    step = planner.trace(setup, sharding.make_mesh(**planner.complete(mesh), devices=setup.devices))
    operations = list(_operations(step.traced.jaxpr.jaxpr))
    # Self- and cross-attention: forward, once more since layers are recomputed, and two backward.
    assert sum(eqn.primitive.name == "pallas_call" for eqn in operations) == 8
    tokens = planner.steps.sequence(setup.task, setup.work).total
    assert tokens > 7 * 30 * 52
    largest = max(math.prod(v.aval.shape) for eqn in operations for v in eqn.outvars)
    assert largest < 0.05 * setup.work.batch * 2 * tokens**2


def test_operations_of_the_kernel_are_counted():
    """Two products forward; backward three for queries, four for keys and values."""
    b, n, m, k, d = 2, 2048, 1024, 3, 64
    q, kv = (jax.ShapeDtypeStruct((b, tokens, k, d), jnp.float32) for tokens in (n, m))
    once = 2 * b * k * n * m * d
    forward = jax.make_jaxpr(splash)(q, kv, kv)
    assert traced_flops(forward.jaxpr) == 2 * once
    backward = jax.make_jaxpr(jax.grad(lambda *a: jnp.sum(splash(*a)), (0, 1, 2)))(q, kv, kv)
    assert traced_flops(backward.jaxpr) == pytest.approx(9 * once, rel=1e-3)
