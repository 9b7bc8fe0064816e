"""Eight-bit weights: how far from float32, how small, and never all of them float at once."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from alchemint_jax.models.umt5 import (
    VARIANTS,
    Int8UMT5Encoder,
    UMT5Config,
    UMT5Encoder,
    quantize,
    quantize_leaf,
)
from alchemint_jax.models.umt5.quantized import dequantize

pytestmark = pytest.mark.slow

CONFIG = UMT5Config(vocab=500, dim=96, n_heads=5, head_dim=16, ffn_dim=192, n_layers=4)


def _inputs(length=40):
    ids = np.random.default_rng(0).integers(3, CONFIG.vocab, (2, length)).astype(np.int32)
    return ids, np.arange(length)[None, :] < np.array([length, 13])[:, None]


def _random(seed, spread=0.0):
    """As initialised, but for the norms; `spread` makes channels differ and attention sharp."""
    rng = np.random.default_rng(seed)

    def made(path, leaf):
        kind, normal = path[-1].key, rng.standard_normal(leaf.shape, np.float32)
        if kind == "kernel":
            scale = rng.lognormal(0, spread, (*leaf.shape[:-2], 1, leaf.shape[-1]))
            logits = CONFIG.head_dim if path[-2].key == "q" else 1
            return normal * np.float32(scale * (leaf.shape[-2] * logits) ** -0.5)
        if kind == "scale":
            return np.float32(rng.uniform(0.5, 1.5, leaf.shape))
        return normal * np.float32(2 if kind == "relative_bias" else 1)

    return jax.tree_util.tree_map_with_path(made, UMT5Encoder(CONFIG).abstract_params())


@partial(jax.jit, static_argnames=("encoder",))
def _states(encoder, params, ids, mask):
    return encoder.apply({"params": params}, ids, mask)


def _error(states, exact, mask):
    states, exact = np.asarray(states, np.float32)[mask], np.asarray(exact)[mask]
    return np.sqrt(((states - exact) ** 2).mean() / (exact**2).mean())


def _as_float8(path, x):
    """What others run this encoder in, to save memory: float8 with one scale per tensor."""
    if path[-1].key not in ("kernel", "embedding"):
        return x
    scale = np.abs(x).max() / 448
    return (x / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale


def _bytes(tree):
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("seed", range(3))
def test_states_are_close_to_float32(seed):
    params, (ids, mask) = _random(seed), _inputs()
    exact = _states(UMT5Encoder(CONFIG), params, ids, mask)
    for dtype in (jnp.float32, jnp.bfloat16):
        states = _states(Int8UMT5Encoder(CONFIG, dtype=dtype), quantize(params), ids, mask)
        assert states.dtype == dtype
        assert 1e-4 < _error(states, exact, mask) < 0.03


def test_closer_than_eight_bit_floats():
    """Where channels differ and attention is sharp, any rounding shows; this one thrice less."""
    params, (ids, mask) = _random(0, spread=0.5), _inputs()
    exact = _states(UMT5Encoder(CONFIG), params, ids, mask)
    states = _states(Int8UMT5Encoder(CONFIG), quantize(params), ids, mask)
    rounded = jax.tree_util.tree_map_with_path(_as_float8, params)
    other = _states(UMT5Encoder(CONFIG), rounded, ids, mask)
    assert _error(states, exact, mask) < _error(other, exact, mask) / 3


def test_it_is_the_encoder_on_rounded_weights():
    params, (ids, mask) = _random(0), _inputs()
    small = quantize(params)
    exact = _states(UMT5Encoder(CONFIG), dequantize(small), ids, mask)
    states = _states(Int8UMT5Encoder(CONFIG), small, ids, mask)
    np.testing.assert_allclose(states, exact, atol=1e-5)


def test_every_weight_is_within_half_a_step():
    params = _random(1)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = ".".join(p.key for p in path)
        stored = quantize_leaf(name, leaf)
        if not isinstance(stored, dict):
            assert "kernel" not in name and name != "embedding"
            np.testing.assert_array_equal(stored, leaf)
            continue
        axis = -1 if name == "embedding" else -2
        assert stored["int8"].dtype == np.int8 and stored["scale"].shape[axis] == 1
        # The largest of each channel is met exactly: the whole range is used, and no more of it.
        assert (np.abs(stored["int8"].astype(int)).max(axis=axis) == 127).all()
        error = np.abs(stored["int8"] * stored["scale"] - leaf)
        assert (error <= 0.501 * stored["scale"]).all()


def test_zero_channels_and_bfloat16():
    kernel = np.random.default_rng(0).standard_normal((3, 8, 4)).astype(np.float32)
    kernel[1, :, 2] = 0
    stored = quantize_leaf("blocks.ffn.up.kernel", kernel)
    assert np.isfinite(stored["scale"]).all() and not stored["int8"][1, :, 2].any()
    half = kernel.astype(ml_dtypes.bfloat16)
    from_half = quantize_leaf("blocks.ffn.up.kernel", half)
    from_float = quantize_leaf("blocks.ffn.up.kernel", half.astype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, from_half, from_float)


def test_a_quarter_of_the_memory():
    params = UMT5Encoder(VARIANTS["xxl"]).abstract_params()
    small = Int8UMT5Encoder(VARIANTS["xxl"]).abstract_params()
    assert 0.25 < _bytes(small) / _bytes(params) < 0.251
    assert _bytes(small) < 5.4 * 2**30


def test_abstract_params_are_those_of_quantize():
    small = quantize(_random(0))
    abstract = Int8UMT5Encoder(CONFIG).abstract_params()
    assert jax.tree.structure(abstract) == jax.tree.structure(small)
    for a, p in zip(jax.tree.leaves(abstract), jax.tree.leaves(small), strict=True):
        assert (a.shape, a.dtype) == (p.shape, p.dtype)


def test_one_layer_is_float_at_a_time():
    config = UMT5Config(vocab=64, dim=256, n_heads=4, head_dim=64, ffn_dim=1024, n_layers=12)
    encoder = Int8UMT5Encoder(config)
    ids, mask = jnp.zeros((1, 16), jnp.int32), jnp.ones((1, 16), bool)
    lowered = _states.lower(encoder, encoder.abstract_params(), ids, mask)
    memory = lowered.compile().memory_analysis()
    stack = _bytes(UMT5Encoder(config).abstract_params()["blocks"])
    assert memory.temp_size_in_bytes < 2 * stack / config.n_layers
