"""Attention against JAX's own, and that a masked key does not exist."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.ops.attention import attention


def _qkv(queries=5, keys=7):
    rng = np.random.default_rng(0)
    lengths = (queries, keys, keys)
    return [jnp.asarray(rng.standard_normal((2, n, 3, 4)), jnp.float32) for n in lengths]


MASK = jnp.asarray([[1, 1, 0, 1, 0, 0, 1], [1, 0, 1, 1, 1, 1, 0]], bool)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all keys", "masked"])
def test_is_jaxs(mask):
    q, k, v = _qkv()
    expected = jax.nn.dot_product_attention(
        q, k, v, mask=None if mask is None else mask[:, None, None, :]
    )
    np.testing.assert_allclose(attention(q, k, v, mask), expected, atol=1e-6)


def test_masked_keys_have_exactly_no_effect():
    q, k, v = _qkv()
    y = attention(q, k, v, MASK)
    hidden = ~MASK[:, :, None, None]
    other_k, other_v = jnp.where(hidden, 50 * k + 3, k), jnp.where(hidden, 1e3 - v, v)
    np.testing.assert_array_equal(attention(q, other_k, other_v, MASK), y)
    # Without the mask they would matter, and so do those that are not masked.
    assert np.abs(attention(q, other_k, other_v) - attention(q, k, v)).max() > 1
    assert np.abs(attention(q, k, jnp.where(hidden, v, -v), MASK) - y).max() > 0.1


def test_gradients_of_masked_keys_are_zero():
    q, k, v = _qkv()
    gk, gv = jax.grad(lambda k, v: jnp.sum(attention(q, k, v, MASK) ** 2), (0, 1))(k, v)
    for gradient in (gk, gv):
        assert not np.asarray(gradient)[~np.asarray(MASK)].any()
        assert np.abs(np.asarray(gradient)[np.asarray(MASK)]).max(axis=(1, 2)).min() > 0


def test_half_precision_keeps_its_type_and_softens_in_float32():
    q, k, v = _qkv()
    half = attention(*(x.astype(jnp.bfloat16) for x in (q, k, v)), MASK)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), attention(q, k, v, MASK), atol=0.05)
    # Many equal keys: summed in bfloat16 the weights would stop growing at 256.
    ones = jnp.ones((1, 2048, 1, 2), jnp.bfloat16)
    np.testing.assert_allclose(attention(ones[:, :1], ones, ones).astype(jnp.float32), 1, atol=0.01)
