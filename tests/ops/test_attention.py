"""Attention against JAX's own, and that a masked key does not exist."""

from __future__ import annotations

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.ops.attention import attention, choose, platform
from alchemint_jax.ops.plain import plain

pytestmark = pytest.mark.slow


def _qkv(queries=5, keys=7):
    rng = np.random.default_rng(0)
    lengths = (queries, keys, keys)
    return [np.float32(rng.standard_normal((2, n, 3, 4))) for n in lengths]


MASK = np.array([[1, 1, 0, 1, 0, 0, 1], [1, 0, 1, 1, 1, 1, 0]], bool)
attend = jax.jit(attention)  # one program instead of a dozen


@pytest.mark.parametrize("mask", [None, MASK], ids=["all keys", "masked"])
def test_is_jaxs(mask):
    q, k, v = _qkv()
    seen = None if mask is None else mask[:, None, None, :]
    expected = jax.jit(jax.nn.dot_product_attention)(q, k, v, mask=seen)
    np.testing.assert_allclose(attend(q, k, v, mask), expected, atol=1e-6)


def test_masked_keys_have_exactly_no_effect():
    q, k, v = _qkv()

    def run(k, v, mask):
        return np.asarray(attend(q, k, v, mask))

    y = run(k, v, MASK)
    hidden = ~MASK[:, :, None, None]
    other_k, other_v = np.where(hidden, 50 * k + 3, k), np.where(hidden, 1000 - v, v)
    np.testing.assert_array_equal(run(other_k, other_v, MASK), y)
    # Without the mask they would matter, and so do those that are not masked.
    assert np.abs(run(other_k, other_v, None) - run(k, v, None)).max() > 1
    assert np.abs(run(k, np.where(hidden, v, -v), MASK) - y).max() > 0.1


def test_gradients_of_masked_keys_are_zero():
    q, k, v = _qkv()
    run = jax.jit(jax.grad(lambda k, v, q, mask: jnp.sum(attention(q, k, v, mask) ** 2), (0, 1)))
    for gradient in map(np.asarray, run(k, v, q, MASK)):
        assert not gradient[~MASK].any()
        assert np.abs(gradient[MASK]).max(axis=(1, 2)).min() > 0


def test_half_precision_keeps_its_type_and_softens_in_float32():
    q, k, v = _qkv()
    half = attend(*(x.astype(jnp.bfloat16) for x in (q, k, v)), MASK)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(half), attend(q, k, v, MASK), atol=0.05)
    # Many equal keys: summed in bfloat16 the probabilities would stop growing at 256.
    ones = np.ones((1, 2048, 1, 2), jnp.bfloat16)
    np.testing.assert_allclose(np.float32(attend(ones[:, :1], ones, ones)), 1, atol=0.01)


HALF, SINGLE, WAN, TEXT = jnp.dtype("bfloat16"), jnp.dtype("float32"), 32_760, 512


@pytest.mark.parametrize(
    ("on", "dtype", "queries", "keys", "dim", "chosen"),
    [
        ("cuda", HALF, WAN, WAN, 128, "cudnn"),
        ("cuda", HALF, WAN, TEXT, 128, "cudnn"),
        ("cuda", HALF, 257, 257, 80, "plain"),
        ("cuda", SINGLE, WAN, WAN, 128, "blocked"),
        ("cuda", HALF, WAN, WAN, 260, "blocked"),
        ("tpu", HALF, WAN, WAN, 128, "splash"),
        ("tpu", SINGLE, WAN, TEXT, 128, "splash"),
        ("tpu", HALF, 192, 192, 48, "plain"),
        ("tpu", HALF, WAN, WAN, 48, "blocked"),
        ("rocm", HALF, WAN, WAN, 128, "blocked"),
        ("cpu", HALF, WAN, WAN, 128, "blocked"),
        ("cpu", SINGLE, 4096, 4096, 128, "plain"),
        ("cpu", SINGLE, 672, 672, 48, "plain"),
        ("cpu", SINGLE, 512, 512, 48, "plain"),
    ],
)
def test_what_attends_depends_on_platform_type_and_sizes(on, dtype, queries, keys, dim, chosen):
    assert choose("auto", on, dtype, queries, keys, dim) == chosen
    large = queries * keys > 4096**2
    assert choose("xla", on, dtype, queries, keys, dim) == ("blocked" if large else "plain")


def test_what_is_asked_for_by_name_is_used_or_refused():
    assert choose("splash", "cpu", SINGLE, 8, 8, 4) == choose("splash", "tpu", SINGLE, 8, 8, 4)
    assert choose("splash", "tpu", SINGLE, 8, 8, 4) == "splash"
    assert choose("cudnn", "cuda", HALF, 8, 8, 64) == "cudnn"
    assert choose("cudnn", "cuda", SINGLE, 8, 8, 64) == "plain"  # it has no single precision
    for name, on in (("cudnn", "cpu"), ("cudnn", "tpu"), ("splash", "cuda")):
        with pytest.raises(ConfigError, match=f"'{name}' does not run on {on}"):
            choose(name, on, HALF, 8, 8, 64)
    with pytest.raises(ConfigError, match="cudnn, splash"):
        jax.eval_shape(functools.partial(attention, implementation="flash"), *_qkv())
    with pytest.raises(ConfigError, match="model.attention is 'flash'.*splash"):
        DiTConfig(attention="flash")


@pytest.mark.parametrize("mask", [None, MASK], ids=["all keys", "masked"])
def test_small_attention_on_a_cpu_is_plain_to_the_last_bit(mask):
    assert platform() == "cpu"
    run, reference = (jax.jit(f).lower(*_qkv(), mask).as_text() for f in (attention, plain))
    assert run.replace("jit_attention", "jit_plain") == reference
    np.testing.assert_array_equal(attend(*_qkv(), mask), jax.jit(plain)(*_qkv(), mask))


def test_probabilities_of_many_heads_are_formed_a_few_at_a_time_unless_devices_share_them():
    x = jax.ShapeDtypeStruct((8, 512, 8, 16), jnp.float32)

    def largest(devices):
        mesh = sharding.make_mesh(devices=jax.devices()[:devices]) if devices else None
        with sharding.use_mesh(mesh) if mesh else contextlib.nullcontext():
            return _largest(jax.make_jaxpr(attention)(x, x, x).jaxpr)

    few = 2 * 512**2  # 2 MiB of float32
    assert largest(0) == largest(1) == few
    assert largest(2) == 32 * few


def _largest(jaxpr):
    """Number of entries of the largest array of a program."""
    found = 0
    for eqn in jaxpr.eqns:
        found = max(found, *(math.prod(v.aval.shape) for v in eqn.outvars))
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                found = max(found, _largest(getattr(inner, "jaxpr", inner)))
    return found


def _is_jaxpr(x):
    return isinstance(x, jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr)


def test_weights_of_a_long_sequence_are_never_formed_at_once():
    def largest(tokens):
        x = jax.ShapeDtypeStruct((1, tokens, 1, 128), jnp.float32)
        gradient = jax.grad(lambda q, k, v: jnp.sum(attention(q, k, v)), (0, 1, 2))
        return _largest(jax.make_jaxpr(gradient)(x, x, x).jaxpr)

    assert largest(4096) == 4096**2
    for tokens in (WAN, 75_600):
        assert largest(tokens) < 1.3 * max(2**23, 128 * tokens) < 0.02 * tokens**2
