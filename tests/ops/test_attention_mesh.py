"""Attention on meshes of eight devices is attention on one; what it sends is what it says."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding
from alchemint_jax.ops.attention import attention
from alchemint_jax.ops.context import attend_on_mesh
from alchemint_jax.ops.plain import blocked, plain
from alchemint_jax.plan import collectives

pytestmark = pytest.mark.slow

TOLERANCE = 5e-6  # float32; see test_attention_kernels

# Sizes of the mesh; samples, queries, keys, heads. Odd numbers are no multiple of anything here.
CASES = {
    "12 heads on 8": ({"context": 8}, (1, 29, 29, 12)),
    "40 heads on 8": ({"context": 8}, (1, 29, 29, 40)),
    "3 heads on 8": ({"context": 8}, (2, 32, 32, 3)),
    "12 heads on 8 that split heads": ({"tensor": 8}, (1, 29, 29, 12)),
    "data, context and tensor": ({"data": 2, "context": 2, "tensor": 2}, (3, 29, 29, 12)),
    "fsdp, context and tensor": ({"fsdp": 2, "context": 2, "tensor": 2}, (2, 29, 29, 3)),
    "heads and samples that are whole": ({"data": 2, "context": 2, "tensor": 2}, (1, 29, 29, 1)),
    "a text": ({"fsdp": 2, "context": 4}, (2, 31, 5, 12)),
    "a long text": ({"data": 2, "context": 4}, (2, 31, 30, 12)),
}


def _arrays(samples, queries, keys, heads, dim=16):
    rng = np.random.default_rng(0)
    shapes = [(samples, n, heads, dim) for n in (queries, keys, keys)]
    seen = rng.random((samples, keys)) < 0.6
    seen[:, 1] = True
    return *(np.float32(rng.standard_normal(s)) for s in shapes), seen


def _gradients(attend, masked):
    def loss(q, k, v, seen):
        y = attend(q, k, v, seen if masked else None)
        return jnp.sum(jnp.sin(y)), y

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))


def _mesh(sizes):
    return sharding.make_mesh(**({"data": 1} | sizes))


def _on_mesh(attend):
    """Also where `attention` would leave it to XLA."""
    return lambda *args: attend_on_mesh(attend, *args, jax.sharding.get_abstract_mesh())


@functools.cache
def _expected(shape, masked, dim):
    return [
        np.asarray(x) for x in jax.tree.leaves(_gradients(plain, masked)(*_arrays(*shape, dim)))
    ]


def _compare(sizes, shape, attend, masked, dim=16):
    with sharding.use_mesh(_mesh(sizes)):
        found = jax.tree.leaves(_gradients(attend, masked)(*_arrays(*shape, dim)))
    for a, b in zip(found, _expected(shape, masked, dim), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)
        assert np.abs(b).max() > 0.1


@pytest.mark.parametrize("masked", [False, True], ids=["all keys", "masked"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_one_device(name, masked):
    _compare(*CASES[name], _on_mesh(plain), masked)


SPLASH = functools.partial(attention, implementation="splash")


@pytest.mark.parametrize(
    ("name", "attend", "dim"),
    [
        ("12 heads on 8 that split heads", SPLASH, 64),
        ("data, context and tensor", SPLASH, 64),
        ("12 heads on 8", _on_mesh(functools.partial(blocked, block=7)), 16),
        ("12 heads on 8", attention, 16),
    ],
    ids=["splash, heads", "splash, all axes", "blocks", "chosen"],
)
def test_whatever_attends_on_each_device(name, attend, dim):
    _compare(*CASES[name], attend, True, dim)


def test_cudnn_gets_what_each_device_has(monkeypatch):
    """In a program lowered for CUDA, which need not be there: 6 heads, 3 after the exchange."""
    patched = "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version"
    monkeypatch.setattr(patched, lambda: 91000)
    monkeypatch.setattr("alchemint_jax.ops.attention.platform", lambda: "cuda")
    x = jax.ShapeDtypeStruct((4, 1021, 12, 64), jnp.bfloat16)
    gradient = jax.grad(lambda q, k, v, m: jnp.sum(attention(q, k, v, m) ** 2), (0, 1, 2))
    with sharding.use_mesh(_mesh({"data": 2, "context": 2, "tensor": 2})):
        traced = jax.jit(gradient).trace(x, x, x, jax.ShapeDtypeStruct((4, 1021), bool))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    calls = [line for line in text.splitlines() if "__cudnn$fmhaSoftmax" in line]
    assert len(calls) == 2 and all("tensor<2x1022x3x64xbf16>" in line for line in calls)


@pytest.mark.parametrize("sizes", [{"context": 8}, {"data": 8}], ids=str)
@pytest.mark.parametrize("implementation", ["xla", "splash"])
def test_a_sample_that_sees_nothing_gets_the_mean(sizes, implementation):
    q, k, v, seen = _arrays(8, 5, 13, 2, dim=64)
    seen[3] = False
    with sharding.use_mesh(_mesh(sizes)):
        y = jax.jit(attention, static_argnums=4)(q, k, v, seen, implementation)
    y = np.asarray(y)
    np.testing.assert_allclose(y, jax.jit(plain)(q, k, v, seen), atol=TOLERANCE)
    np.testing.assert_allclose(y[3], np.broadcast_to(v[3].mean(0), y[3].shape), atol=TOLERANCE)


def _sent(sizes, shape, dim=16):
    """Bytes that each device sends forwards, and kinds of collectives."""
    batch, tokens, heads, _ = sharding.spec("batch", "tokens", "heads", None)
    mesh, few = _mesh(sizes), shape[2] < shape[1]
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(batch, None, heads))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(batch, tokens, heads))
    with sharding.use_mesh(mesh):
        run = jax.jit(attention, in_shardings=(split, *(2 * (whole if few else split,))))
        shapes = jax.eval_shape(lambda: _arrays(*shape, dim)[:3])
        text = run.lower(*shapes).compile().as_text()
    found = collectives.find(text)
    return sum(c.sent for c in found), {c.kind for c in found}


@pytest.mark.parametrize(("heads", "h"), [(12, 4), (40, 8), (3, 1)])
def test_what_is_sent_is_what_is_said(heads, h):
    c, n, d = 8, 64, 16
    sent, kinds = _sent({"context": c}, (1, n, n, heads))
    numbers = n * heads * d
    exchanged = 4 * numbers / c * (h - 1) / h
    fetched = 2 * numbers / h * (1 - h / c)
    assert sent == pytest.approx(4 * (exchanged + fetched))
    assert ("all-to-all" in kinds) == (h > 1) and ("all-gather" in kinds) == (h < c)
    ring = 4 * 2 * numbers * (c - 1) / c
    assert sent <= ring and (sent < 0.4 * ring) == (h > 1)


def test_nothing_is_sent_for_a_text_or_for_heads():
    assert _sent({"context": 8}, (1, 64, 5, 12)) == (0, set())
    assert _sent({"data": 2, "tensor": 4}, (2, 64, 64, 12)) == (0, set())


def test_devices_have_nothing_whole():
    """Of queries, keys, values and probabilities; with all of one head's keys at once."""
    x = jax.ShapeDtypeStruct((1, 1024, 8, 16), jnp.float32)
    with sharding.use_mesh(_mesh({"context": 8})):
        split = jax.sharding.PartitionSpec(None, "context")
        run = jax.jit(attention, in_shardings=3 * (split,), out_shardings=split)
        memory = run.lower(x, x, x).compile().memory_analysis()
    probabilities = 8 * 1024**2 * 4
    assert memory.temp_size_in_bytes < 1.5 * probabilities / 8 + 8 * x.size * 4 / 8
