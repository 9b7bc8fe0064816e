"""Attention group by group: the same as with a bias of all pairs, forward and backward."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.models.dit.bias import Bias
from alchemint_jax.models.dit.sequence import SequenceLayout
from alchemint_jax.ops.attention import attention
from alchemint_jax.ops.bias import HIDDEN, LowRankBias, folded
from alchemint_jax.ops.grouped import grouped
from alchemint_jax.ops.plain import plain
from alchemint_jax.ops.splash import splash

pytestmark = pytest.mark.slow

LAYOUT = SequenceLayout((3, 2, 2), slots=2, cells=4, tag=3)  # 12 + 8 + 6 tokens
B, K, D = 2, 2, 8


def normal(seed, *shape):
    return jax.device_put(np.float32(np.random.default_rng(seed).standard_normal(shape)))


@pytest.fixture(scope="module")
def given():
    """Queries, keys, values, the bias of both directions, and which tokens are seen."""
    q, k, v = (normal(i, B, LAYOUT.tokens, K, D) for i in range(3))
    subjects, frames = 2 * normal(3, B, 3, 2), 2 * normal(4, B, 2, 3)
    bias = Bias(subjects=subjects, frames=frames).of_sequence(LAYOUT)
    seen = np.ones((B, LAYOUT.tokens), bool)
    seen[0, 16:20] = seen[0, 23:26] = False  # the second subject of the first sample
    seen[1, 22] = False
    return q, k, v, bias, jax.device_put(seen)


def expected(q, k, v, bias, seen):
    """By the definition, with all logits as an array."""
    logits = jnp.einsum("bnkd,bmkd->bknm", q, k) * q.shape[-1] ** -0.5
    logits += jnp.einsum("bnr,bmr->bnm", bias.queries, bias.keys)[:, None]
    p = jax.nn.softmax(jnp.where(seen[:, None, None], logits, -jnp.inf))
    return jnp.einsum("bknm,bmkd->bnkd", p, v)


def plain_total(q, k, v, seen, scale):
    """A kernel that gives the log-sum-exp too."""
    logits = jnp.einsum("bnkd,bmkd->bnkm", q, k) * scale
    total = jax.nn.logsumexp(jnp.where(seen[:, None, None], logits, -jnp.inf), axis=-1)
    return plain(q, k, v, seen, scale), total


KERNELS = {"plain": plain_total, "splash": functools.partial(splash, interpret=True, total=True)}


def by_groups(kernel):
    scale = D**-0.5

    def run(q, k, v, bias, seen):
        one = functools.partial(kernel, scale=scale)
        whole = functools.partial(plain, scale=scale)
        wide = folded(q, k, bias, scale)
        return grouped(*wide, v, seen, scale, bias.groups, D, one, whole)

    return run


@pytest.mark.parametrize("name", KERNELS)
def test_it_is_attention_with_the_bias(given, name):
    found = jax.jit(by_groups(KERNELS[name]))(*given)
    np.testing.assert_allclose(found, expected(*given), atol=1e-5)
    *others, bias, seen = given
    without = LowRankBias(0 * bias.queries, bias.keys, bias.groups)
    assert np.abs(found - expected(*others, without, seen))[:, : LAYOUT.video].max() > 0.1


def test_gradients_are_those_of_the_definition(given):
    q, k, v, bias, seen = given
    weight = normal(9, *q.shape)

    def gradients(attend):
        loss = lambda q, k, v, b: (weight * attend(q, k, v, b, seen)).sum()  # noqa: E731
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(q, k, v, bias)

    found, wanted = gradients(by_groups(plain_total)), gradients(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_hidden_subject_has_no_part_at_all(given):
    q, k, v, _, seen = given
    hide = jnp.full((B, 3, 2), HIDDEN).at[:, 1].set(0)
    bias = Bias(subjects=hide).of_sequence(LAYOUT)
    run = jax.jit(by_groups(plain_total))
    y, other = (run(q, k, x, bias, seen) for x in (v, v.at[:, LAYOUT.video :].add(5)))
    same = np.asarray(y == other).all((0, 2, 3))[: LAYOUT.video].reshape(3, 4)
    assert same[[0, 2]].all() and not same[1].any()


def test_the_groups_of_a_sequence_hold_each_token_once_and_one_bias(given):
    bias = given[3]
    tokens = [np.arange(a, a + n) for runs in bias.groups for a, n in runs]
    np.testing.assert_array_equal(np.sort(np.concatenate(tokens)), np.arange(LAYOUT.tokens))
    table = np.einsum("bnr,bmr->bnm", bias.queries, bias.keys)[:, : LAYOUT.video]
    for runs in bias.groups:
        own = table[..., np.concatenate([np.arange(a, a + n) for a, n in runs])]
        np.testing.assert_array_equal(own, own[..., :1] + np.zeros_like(own))
    assert SequenceLayout((1, 2, 2)).groups() == (((0, 4),),)
    assert SequenceLayout((1, 2, 2), 1, 4).groups() == (((0, 4),), ((4, 4),))


def test_splash_attends_to_the_video_by_queries_that_are_no_wider(given):
    """But for those of references; where groups are not known, all are wider."""
    q, k, v, bias, seen = given
    attend = functools.partial(attention, implementation="splash")

    def widths(bias):
        lines = str(jax.make_jaxpr(attend)(q, k, v[..., :5], seen, bias=bias))
        return {w for w in (D, D + 4) if f"f32[128,{w}]" in lines}

    assert widths(bias) == {D, D + 4}
    assert widths(LowRankBias(bias.queries, bias.keys)) == {D + 4}
    found = jax.jit(functools.partial(attend, bias=bias))(q, k, v, seen)
    np.testing.assert_allclose(found, expected(*given), atol=1e-5)
