"""The transformer with other implementations of attention, and what it then keeps of them."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax import sharding
from alchemint_jax.models.dit import DiT, DiTConfig

pytestmark = pytest.mark.slow

# Two heads of 64. Without text states, gradients would not pass through cross-attention.
CONFIG = DiTConfig(
    dim=128, n_heads=2, n_layers=2, ffn_dim=32, in_channels=4, out_channels=4, text_dim=8,
    freq_dim=8, slots=2,
)  # fmt: skip


@functools.cache
def _inputs():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return np.float32(rng.standard_normal(shape))

    return {
        "latents": normal(2, 3, 4, 4, 4),
        "time": np.float32([0.2, 0.7]),
        "text": normal(2, 3, 8),
        "references": normal(2, 2, 4, 4, 4),
        "used": np.array([[True, False], [True, True]]),
        "intervals": np.float32([[[[0.0, 1.0]], [[0.0, 1.0]]]] * 2),
        "tags": normal(2, 2, 3, 8),
        "tag_mask": np.array([[[True, True, False]] * 2] * 2),
    }


@functools.cache
def _params():
    rng = np.random.default_rng(1)
    shapes = DiT(CONFIG).abstract_params()
    return jax.tree.map(
        lambda x: jax.device_put(np.asarray(0.2 * rng.standard_normal(x.shape), x.dtype)), shapes
    )


def _loss(config, params, dtype=jnp.float32):
    given = jax.tree.map(jnp.asarray, _inputs())
    velocity = DiT(config, dtype).apply({"params": params}, **given)
    return jnp.mean(velocity**2)


def _value_and_grad(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    return jax.jit(jax.value_and_grad(functools.partial(_loss, config)))(_params())


@functools.cache
def _plain():
    return _value_and_grad()


@pytest.mark.parametrize("remat", ["none", "attention"])
def test_a_kernel_changes_nothing(remat):
    """Where attention is kept, on a mesh that splits the sequence and a head off the other."""
    value, gradients = _plain()
    sizes = {"none": {}, "attention": {"context": 2, "tensor": 2}}[remat]
    devices = jax.devices()[: 4 if sizes else 1]
    with sharding.use_mesh(sharding.make_mesh(data=1, **sizes, devices=devices)):
        other, found = _value_and_grad(attention="splash", remat=remat)
    np.testing.assert_allclose(other, value, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1, float(np.abs(b).max())))


def _count(jaxpr, name):
    """How many operations of this name a program has, those inside of loops and calls too.

    XLA leaves out calls that result in nothing.
    """
    found = 0
    for eqn in (e for e in jaxpr.eqns if e.outvars):
        found += eqn.primitive.name == name
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                found += _count(getattr(inner, "jaxpr", inner), name)
    return found


def _is_jaxpr(x):
    return isinstance(x, jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr)


def _gradient(mesh=None, dtype=jnp.float32, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    run = jax.grad(functools.partial(_loss, config, dtype=dtype))
    with sharding.use_mesh(mesh or sharding.make_mesh(devices=jax.devices()[:1])):
        return jax.make_jaxpr(run)(_params()).jaxpr


@pytest.mark.parametrize("sizes", [{}, {"context": 2, "tensor": 4}], ids=["one", "mesh"])
def test_kept_attention_is_not_computed_again(sizes):
    """Two attentions of a layer, each of one forward kernel and two backward ones."""
    mesh = sharding.make_mesh(data=1, **sizes) if sizes else None
    kernels = {
        remat: _count(_gradient(mesh, attention="splash", remat=remat), "pallas_call")
        for remat in ("none", "dots", "attention", "full")
    }
    assert kernels == {"none": 6, "dots": 6, "attention": 6, "full": 8}


def test_neither_is_cudnns(monkeypatch):
    """Whose names for what it keeps are none."""
    patched = "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version"
    monkeypatch.setattr(patched, lambda: 91000)
    monkeypatch.setattr("alchemint_jax.ops.attention.platform", lambda: "cuda")
    for remat, times in (("none", 2), ("attention", 2), ("full", 4)):
        jaxpr = _gradient(dtype=jnp.bfloat16, attention="cudnn", remat=remat)
        assert _count(jaxpr, "dot_product_attention_fwd_wrapper") == times
        assert _count(jaxpr, "dot_product_attention_bwd_wrapper") == 2
