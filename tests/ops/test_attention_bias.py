"""A bias of attention and what it gives to groups of keys: the same in every implementation."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding
from alchemint_jax.ops import cudnn as cudnn_module
from alchemint_jax.ops.attention import attention, choose, observed_attention
from alchemint_jax.ops.bias import HIDDEN, LowRankBias, folded, widened
from alchemint_jax.ops.cudnn import cudnn
from alchemint_jax.ops.plain import blocked
from alchemint_jax.ops.splash import splash

pytestmark = pytest.mark.slow

KERNELS = {
    "blocked": functools.partial(blocked, block=24),
    "splash": functools.partial(splash, interpret=True),
    "cudnn": functools.partial(cudnn, implementation="xla"),
}
# Float32, standard normal inputs, some dozens of keys, biases of a few units.
TOLERANCE = 1e-5
# Bfloat16 rounds queries, keys, values, biases and probabilities to 8 bits each.
HALF_TOLERANCE = 0.05


def _arrays(queries=40, keys=30, heads=2, dim=16):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jax.device_put(np.float32(rng.standard_normal(shape)))

    q, k, v = (normal(2, n, heads, dim) for n in (queries, keys, keys))
    bias = LowRankBias(2 * normal(2, queries, 3), normal(2, keys, 3))
    groups = jax.device_put(np.float32(rng.random((1, keys, 2)) < 0.3))
    mask = jnp.asarray(rng.random((2, keys)) < 0.7).at[:, 1].set(True)
    return q, k, v, bias, groups, mask


def _expected(q, k, v, bias, groups, mask):
    """By the definition, with all logits as an array."""
    logits = jnp.einsum("bnkd,bmkd->bknm", q, k) * q.shape[-1] ** -0.5
    logits += jnp.einsum("bnr,bmr->bnm", *bias)[:, None]
    p = jax.nn.softmax(jnp.where(mask[:, None, None], logits, -jnp.inf))
    groups = jnp.broadcast_to(groups, (len(q), *groups.shape[1:]))
    return jnp.einsum("bknm,bmkd->bnkd", p, v), jnp.einsum("bknm,bmg->bnkg", p, groups)


def _by(kernel):
    """What `observed_attention` does, by a kernel that it would not choose here."""

    def attend(q, k, v, bias, groups, mask):
        scale = q.shape[-1] ** -0.5
        q, k = folded(q, k, bias, scale)
        y = kernel(q, k, widened(v, groups), mask, scale)
        return y[..., : v.shape[3]], y[..., v.shape[3] :]

    return attend


def _chosen(q, k, v, bias, groups, mask):
    return observed_attention(q, k, v, groups, mask, bias=bias)


IMPLEMENTATIONS = {"plain": _chosen} | {name: _by(kernel) for name, kernel in KERNELS.items()}


def _gradients(attend):
    def loss(q, k, v, bias, groups, mask):
        y, probabilities = attend(q, k, v, bias, groups, mask)
        return jnp.sum(jnp.sin(y)) + jnp.sum(jnp.cos(3 * probabilities)), (y, probabilities)

    return jax.jit(jax.grad(loss, (0, 1, 2, 3), has_aux=True))


@functools.cache
def _reference():
    return jax.tree.leaves(_gradients(_expected)(*_arrays()))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_outputs_probabilities_and_gradients_are_those_of_the_definition(name):
    found = jax.tree.leaves(_gradients(IMPLEMENTATIONS[name])(*_arrays()))
    for a, b in zip(found, _reference(), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE * max(1, np.abs(b).max()))
        assert np.abs(b).max() > 0.1


@pytest.mark.parametrize("sizes", [{"context": 4, "tensor": 2}, {"data": 2, "context": 4}], ids=str)
def test_a_split_sequence_has_the_same(sizes):
    with sharding.use_mesh(sharding.make_mesh(**({"data": 1} | sizes))):
        found = jax.tree.leaves(_gradients(_chosen)(*_arrays()))
    for a, b in zip(found, _reference(), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE * max(1, np.abs(b).max()))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_half_precision_is_near(name):
    q, k, v, *rest = _arrays()
    half = (x.astype(jnp.bfloat16) for x in (q, k, v))
    found = jax.jit(IMPLEMENTATIONS[name])(*half, *rest)
    for a, b in zip(found, _expected(q, k, v, *rest), strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=HALF_TOLERANCE)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_hidden_keys_get_exactly_nothing_and_a_query_without_others_stays_finite(name):
    """In half precision, which has the fewest digits."""
    q, k, v, _, _, mask = _arrays()
    q, k, v = (x.astype(jnp.bfloat16) for x in (q, k, v))
    groups = jnp.ones((1, 30, 2)).at[:, 8:, 0].set(0).at[:, :8, 1].set(0)  # two halves
    hide = jnp.full((1, 40, 2), HIDDEN).at[:, :20, 1].set(0)  # all of the later queries' keys
    run, bias = jax.jit(IMPLEMENTATIONS[name]), LowRankBias(hide, groups)
    y, probabilities = run(q, k, v, bias, groups, jnp.ones_like(mask))
    early, late = np.split(np.asarray(probabilities, np.float32), [20], axis=1)
    assert (early[..., 0] == 0).all()
    np.testing.assert_allclose(early[..., 1], 1, atol=0.01)
    np.testing.assert_allclose(late.sum(-1), 1, atol=0.01)
    assert np.isfinite(np.asarray(y, np.float32)).all()
    again, _ = run(q, k, v.at[:, :8].set(99), bias, groups, jnp.ones_like(mask))
    np.testing.assert_array_equal(again[:, :20], y[:, :20])


def test_a_bias_that_half_precision_rounds_is_near_and_hidden_is_exact():
    for dtype in (jnp.bfloat16, jnp.float16):
        assert jnp.asarray(HIDDEN, dtype).astype(jnp.float32) == HIDDEN
        assert np.isfinite(jnp.asarray(HIDDEN * 128**0.5, dtype).astype(jnp.float32))


def test_a_sample_that_sees_no_key_has_the_mean_whatever_the_bias():
    q, k, v, bias, groups, mask = _arrays()
    for implementation in ("xla", "splash"):
        y, _ = jax.jit(observed_attention, static_argnums=5)(
            q, k, v, groups, mask.at[1].set(False), implementation, bias
        )
        np.testing.assert_allclose(y[1], jnp.broadcast_to(v[1].mean(0), y[1].shape), atol=TOLERANCE)


def test_wider_heads_are_asked_of_a_kernel_that_takes_them(monkeypatch):
    half, many = jnp.dtype("bfloat16"), 32_760
    assert choose("auto", "tpu", half, many, many, 128, 8) == "splash"
    for widest, extra, chosen in ((128, 8, "blocked"), (256, 8, "cudnn"), (256, 136, "blocked")):
        monkeypatch.setattr("alchemint_jax.ops.attention.widest", lambda w=widest: w)
        assert choose("auto", "cuda", half, many, many, 128, extra) == chosen
    assert choose("auto", "cuda", half, many, many, 64, 8) == "cudnn"
    assert cudnn_module.widest() == 128  # no GPU is here


def test_without_a_bias_nothing_is_added():
    q, k, v, _, _, mask = _arrays()

    def text(**more):
        return jax.jit(functools.partial(attention, **more)).lower(q, k, v, mask).as_text()

    assert text() == text(bias=None)
