"""Attention maps: those that the model really uses."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.models.dit import DiT, DiTConfig, reference_attention, self_attention
from alchemint_jax.models.layers import unboxed
from alchemint_jax.rotary import FittedRope

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compile_fast")]

CONFIG = DiTConfig(
    dim=24,
    n_heads=2,
    n_layers=2,
    ffn_dim=32,
    in_channels=3,
    out_channels=3,
    text_dim=10,
    freq_dim=16,
    slots=3,
)
FRAMES, CELLS = 3, 6


def _params(config):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0.1, 0.5, x.shape), jnp.float32),
        DiT(config).abstract_params(),
    )


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    intervals = [[[0, 0.5]], [[1, 2]], [[0, 2]]]
    return {
        "latents": normal(2, FRAMES, 4, 6, 3),
        "time": jnp.asarray([0.3, 0.9]),
        "text": normal(2, 5, 10),
        "references": normal(2, 3, 4, 6, 3),
        "used": jnp.asarray([[1, 1, 0], [1, 0, 1]], bool),
        "intervals": jnp.tile(jnp.asarray(intervals, jnp.float32)[None], (2, 1, 1, 1)),
        "tags": normal(2, 3, 4, 10),
        "tag_mask": jnp.asarray([[[1, 1, 1, 0]] * 3] * 2, bool),
    }


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
def test_the_weights_give_the_models_own_output(inputs, tags):
    """Weights times values, projected, are what the attention returned."""
    config = dataclasses.replace(CONFIG, tags=tags)
    params = _params(config)
    weights = self_attention(config, params, inputs)
    _, state = DiT(config).apply(
        {"params": params},
        **inputs,
        capture_intermediates=lambda module, _: module.name in ("v", "o"),
        mutable=["intermediates"],
    )
    found = state["intermediates"]["blocks"]["self_attn"]
    v, output = found["v"]["__call__"][0], found["o"]["__call__"][0]
    heads = v.reshape(*v.shape[:3], config.n_heads, config.head_dim)
    gathered = jnp.einsum("lbknm,lbmkd->lbnkd", weights, heads).reshape(v.shape)
    project = params["blocks"]["self_attn"]["o"]
    expected = jnp.einsum("lbnd,lde->lbne", gathered, project["kernel"])
    expected += project["bias"][:, None, None]
    np.testing.assert_allclose(expected, output, atol=1e-4)
    assert np.ptp(np.asarray(weights)) > 0.01


def test_empty_slots_are_not_looked_at(inputs):
    maps = np.asarray(reference_attention(CONFIG, _params(CONFIG), inputs))
    assert maps.shape == (2, 2, 2, FRAMES, 3)
    used = np.asarray(inputs["used"])[None, :, None, None]
    assert (maps[np.broadcast_to(~used, maps.shape)] == 0).all()
    seen = maps[np.broadcast_to(used, maps.shape)]
    assert (seen > 0).all() and (maps.sum(-1) < 1).all()


def test_maps_are_sums_of_the_weights(inputs):
    params = _params(CONFIG)
    weights = np.asarray(self_attention(CONFIG, params, inputs))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    start = FRAMES * CELLS + CELLS  # the second subject's picture
    part = weights[..., CELLS : 2 * CELLS, start : start + CELLS]  # seen from the second frame
    maps = reference_attention(CONFIG, params, inputs)
    np.testing.assert_allclose(maps[..., 1, 1], part.sum(-1).mean(-1), atol=1e-6)


def test_the_interval_moves_the_map(inputs):
    params = _params(CONFIG)
    later = inputs | {"intervals": inputs["intervals"].at[:, 0, 0].set(jnp.asarray([1.5, 2.0]))}
    one, other = (reference_attention(CONFIG, params, x) for x in (inputs, later))
    assert np.abs(one - other)[..., 0].max() > 1e-3


def test_an_untrained_model_already_looks_at_references_during_their_intervals():
    """By the biases of queries and keys alone: without them attention knows nothing of time."""
    config = dataclasses.replace(CONFIG, dim=96, theta_t=20.0, scheme=FittedRope())
    rng = np.random.default_rng(2)
    inputs = DiT(config).example_inputs() | {
        "latents": jnp.asarray(rng.standard_normal((1, 9, 4, 4, 3)), jnp.float32),
        "references": jnp.asarray(rng.standard_normal((1, 2, 4, 4, 3)), jnp.float32),
        "used": jnp.ones((1, 2), bool),
        "intervals": jnp.asarray([[[[0.0, 3.0]], [[5.0, 8.0]]]]),
        "tags": jnp.zeros((1, 2, 1, 10)),
        "tag_mask": jnp.ones((1, 2, 1), bool),
    }
    params = unboxed(DiT(config).init(jax.random.key(0), **inputs)["params"])

    def inside_over_outside(params):
        first, second = np.asarray(reference_attention(config, params, inputs)).mean((0, 1, 2)).T
        inside, outside = first[:4].mean() + second[5:].mean(), first[5:].mean() + second[:4].mean()
        return inside / outside

    attention = params["blocks"]["self_attn"]
    flat = {name: attention[name] | {"bias": attention[name]["bias"] * 0} for name in ("q", "k")}
    without = params | {"blocks": params["blocks"] | {"self_attn": attention | flat}}
    assert inside_over_outside(params) > 1.2
    assert 0.9 < inside_over_outside(without) < 1.1
