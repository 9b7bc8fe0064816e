"""Norms and modulations of one sample work on rows: a batch axis of one makes XLA's sums slow."""

from __future__ import annotations

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.models.dit.blocks import Segment, add_gated, modulated_norm
from alchemint_jax.models.layers import layer_norm, rms_norm

N, D = 12, 8


def modulated(x, table):
    segments = [Segment(N, table)]
    return add_gated(x, modulated_norm(x, segments, 0, 1), segments, 2)


def plainly_modulated(x, table):
    """The same, written without any care."""
    shift, scale, gate = (table[:, :, i] for i in range(3))
    return x + (layer_norm(x) * (1 + scale) + shift) * gate


def scaled(x, table):
    scale, shift = table[0, 0, :2]
    return rms_norm(layer_norm(x, scale, shift), scale)


def plainly_scaled(x, table):
    scale, shift = table[0, 0, :2]
    y = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
    y = y * scale + shift
    return y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-6) * scale


def given(batch):
    rng = np.random.default_rng(batch)
    shapes = (batch, N, D), (batch, 1, 3, D)
    return tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


def gradients(function):
    return jax.grad(lambda x, table: (function(x, table) ** 2).sum(), argnums=(0, 1))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("pair", [(modulated, plainly_modulated), (scaled, plainly_scaled)])
def test_values_and_gradients_are_those_of_the_plain_formula(pair, batch):
    with jax.numpy_rank_promotion("allow"):
        for of in (lambda f: f, gradients):
            ours, plain = (jax.jit(of(f))(*given(batch)) for f in pair)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2e-4, 2e-4), ours, plain)


@pytest.mark.parametrize("pair", [(modulated, plainly_modulated), (scaled, plainly_scaled)])
def test_gradients_of_one_sample_sum_nothing_beside_its_axis(pair):
    with jax.numpy_rank_promotion("allow"):
        ours, plain = (list(_summed(jax.make_jaxpr(gradients(f))(*given(1)).jaxpr)) for f in pair)
    assert (N, D) in ours and (1, N, D) not in ours
    assert (1, N, D) in plain


def _summed(jaxpr):
    """Shapes whose rows or columns are summed, but for the loss itself."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "reduce_sum":
            shape = eqn.invars[0].aval.shape
            if len(eqn.params["axes"]) < len(shape):
                yield shape
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from _summed(inner)
