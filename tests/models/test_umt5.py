"""The UMT5 encoder against its formulas in float64, and what its mask promises."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.layers import Linear, init_params, layer_norm, rms_norm, unboxed
from alchemint_jax.models.umt5 import (
    VARIANTS,
    UMT5Config,
    UMT5Encoder,
    relative_buckets,
    zero_padded,
)

pytestmark = pytest.mark.slow

SMALL = UMT5Config(vocab=40, dim=12, n_heads=3, head_dim=5, ffn_dim=20, n_layers=3)
LENGTHS = (23, 14)


def _inputs(length=23):
    ids = np.random.default_rng(0).integers(3, SMALL.vocab, (len(LENGTHS), length))
    mask = np.arange(length)[None, :] < np.array(LENGTHS)[:, None]
    return ids.astype(np.int32), mask


@pytest.fixture(scope="module")
def params():
    fresh = unboxed(init_params(UMT5Encoder(SMALL), jax.random.key(0), *_inputs()))
    leaves, structure = jax.tree.flatten(fresh)
    rng = np.random.default_rng(1)  # so that no scale is 1 and the relative bias matters
    return jax.tree.unflatten(
        structure, [np.float32(x + 0.3 * rng.standard_normal(x.shape)) for x in leaves]
    )


def _bucket_by_loop(offset):
    """T5's bucket of one offset (key - query), 32 buckets, maximal distance 128."""
    bucket, n = (16 if offset > 0 else 0), abs(offset)
    if n < 8:
        return bucket + n
    exact = 8 * math.log(n / 8) / math.log(16)
    return bucket + min(15, 8 + math.floor(exact + 1e-9))


def _reference(p, ids, mask):
    """The formulas, one sample and one head at a time, in float64."""

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    p = jax.tree.map(lambda a: np.asarray(a, np.float64), p)
    states = []
    for row, keep in zip(ids, mask, strict=True):
        n = len(row)
        x = p["embedding"][row]
        for i in range(SMALL.n_layers):
            b = jax.tree.map(lambda a, i=i: a[i], p["blocks"])
            h = norm(x, b["norm1"]["scale"])
            heads = []
            for k in range(SMALL.n_heads):
                cut = slice(k * SMALL.head_dim, (k + 1) * SMALL.head_dim)
                q, key, v = (h @ b["attn"][m]["kernel"][:, cut] for m in "qkv")
                logits = q @ key.T
                for s in range(n):
                    for t in range(n):
                        logits[s, t] += b["attn"]["relative_bias"][_bucket_by_loop(t - s), k]
                logits[:, ~keep] = -np.inf
                w = np.exp(logits - logits.max(-1, keepdims=True))
                heads.append(w / w.sum(-1, keepdims=True) @ v)
            x = x + np.concatenate(heads, -1) @ b["attn"]["o"]["kernel"]
            h, f = norm(x, b["norm2"]["scale"]), b["ffn"]
            gated = gelu(h @ f["gate"]["kernel"]) * (h @ f["up"]["kernel"])
            x = x + gated @ f["down"]["kernel"]
        states.append(norm(x, p["norm"]["scale"]))
    return np.stack(states)


@functools.partial(jax.jit, static_argnums=0)
def _jitted(encoder, params, ids, mask):
    return encoder.apply({"params": params}, ids, mask)


def _apply(params, ids, mask):
    return np.asarray(_jitted(UMT5Encoder(SMALL), params, ids, mask))


def test_equals_the_formulas(params):
    ids, mask = _inputs()
    states = _apply(params, ids, mask)
    assert states.shape == (*ids.shape, SMALL.dim) and states.dtype == np.float32
    np.testing.assert_allclose(states, _reference(params, ids, mask), atol=2e-4)


def test_every_parameter_matters(params):
    ids, mask = _inputs()
    weights = np.random.default_rng(2).standard_normal((*ids.shape, SMALL.dim)).astype(np.float32)

    def loss(p):
        return jnp.sum(weights * UMT5Encoder(SMALL).apply({"params": p}, ids, mask))

    for path, g in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        per_layer = g if "blocks" in str(path) else g[None]
        for layer in np.asarray(per_layer):
            assert np.abs(layer).max() > 1e-3, path


def test_buckets_are_t5s():
    length = 300
    expected = [[_bucket_by_loop(t - s) for t in range(length)] for s in (0, 150, length - 1)]
    np.testing.assert_array_equal(relative_buckets(length)[[0, 150, length - 1]], expected)


@pytest.mark.parametrize(
    ("distance", "bucket"),
    [(0, 0), (7, 7), (8, 8), (11, 8), (12, 9), (16, 10), (32, 12), (64, 14), (90, 14), (91, 15)],
)
def test_known_buckets(distance, bucket):
    table = relative_buckets(128)
    assert table[distance, 0] == bucket
    assert table[0, distance] == bucket + (16 if distance else 0)


def test_padding_content_and_length_change_nothing(params):
    ids, mask = _inputs()
    states = _apply(params, ids, mask)
    other = np.where(mask, ids, (ids + 7) % SMALL.vocab).astype(np.int32)
    assert (other != ids).any()
    np.testing.assert_array_equal(_apply(params, other, mask)[mask], states[mask])
    longer = [np.pad(a, ((0, 0), (0, 9))) for a in (ids, mask)]
    padded = _apply(params, *longer)
    np.testing.assert_allclose(padded[:, :23][mask], states[mask], atol=2e-5)
    # The promise has content: tokens that are kept do reach all the others.
    seen = _apply(params, other, np.ones_like(mask))
    assert np.abs(seen - states)[mask].max(-1)[LENGTHS[0] :].min() > 1e-3


def test_order_matters(params):
    ids, mask = _inputs()
    swapped = ids.copy()
    swapped[:, [2, 9]] = ids[:, [9, 2]]
    rest = [i for i in range(14) if i not in (2, 9)]
    moved = _apply(params, swapped, mask) - _apply(params, ids, mask)
    assert np.abs(moved[:, rest]).max() > 1e-3


def test_a_text_without_tokens_stays_finite(params):
    ids, mask = _inputs()
    assert np.isfinite(_apply(params, ids, np.zeros_like(mask))).all()


def test_zero_padded(params):
    ids, mask = _inputs()
    states = _apply(params, ids, mask)
    zeroed = np.asarray(zero_padded(states, mask))
    assert np.abs(states[~mask]).min() > 0 and not zeroed[~mask].any()
    np.testing.assert_array_equal(zeroed[mask], states[mask])


def test_bfloat16_is_close(params):
    ids, mask = _inputs()
    half = _jitted(UMT5Encoder(SMALL, dtype=jnp.bfloat16), params, ids, mask)
    assert half.dtype == jnp.bfloat16
    full = _apply(params, ids, mask)
    error = np.asarray(half, np.float32) - full
    assert 0 < np.sqrt(np.mean(error[mask] ** 2)) < 0.1 * np.std(full)


def test_variants_have_the_published_sizes():
    def count(config):
        shapes = UMT5Encoder(config).abstract_params()
        return sum(math.prod(s.shape) for s in jax.tree.leaves(shapes))

    assert count(VARIANTS["xxl"]) == 5_680_910_336
    assert count(VARIANTS["sprites"]) == 361_728
    assert VARIANTS["sprites"].vocab == 259


def test_abstract_params_are_those_of_init(params):
    abstract = UMT5Encoder(SMALL).abstract_params()
    assert jax.tree.structure(abstract) == jax.tree.structure(params)
    for a, p in zip(jax.tree.leaves(abstract), jax.tree.leaves(params), strict=True):
        assert isinstance(a, jax.ShapeDtypeStruct)
        assert (a.shape, a.dtype) == (p.shape, p.dtype)


def test_initial_attention_is_neither_flat_nor_saturated():
    """Unscaled attention only trains from logits of order one: the scale is in q's initialiser."""
    config = dataclasses.replace(VARIANTS["sprites"], n_layers=1)
    ids, mask = _inputs()
    p = unboxed(init_params(UMT5Encoder(config), jax.random.key(3), ids, mask))
    x = np.asarray(jax.jit(rms_norm)(np.asarray(p["embedding"])[ids[0]]))
    attn = jax.tree.map(lambda a: np.asarray(a)[0], p["blocks"]["attn"])
    q, k = ((x @ attn[m]["kernel"]).reshape(-1, 4, 32) for m in "qk")
    assert 0.5 < np.std(np.einsum("qkd,lkd->kql", q, k)) < 2


def test_parameters_carry_logical_axes():
    boxed = init_params(UMT5Encoder(SMALL), jax.random.key(0), *_inputs())
    assert boxed["embedding"].names == ("vocab", "embed")
    assert boxed["blocks"]["attn"]["q"]["kernel"].names == ("layers", "embed", "heads")
    assert boxed["blocks"]["ffn"]["down"]["kernel"].names == ("layers", "mlp", "embed")


@pytest.mark.parametrize("wrong", [{"n_buckets": 6}, {"max_distance": 8}])
def test_impossible_buckets_are_refused(wrong):
    with pytest.raises(ConfigError, match="UMT5Config"):
        dataclasses.replace(SMALL, **wrong)


def test_linear_and_norms():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 3, 6)).astype(np.float32) + 100
    key, linear = jax.random.key(0), Linear(4, ("embed", None))
    params = unboxed(jax.jit(linear.init)(key, x)["params"])
    params["bias"] = np.arange(4, dtype=np.float32)
    apply = jax.jit(lambda x: linear.apply({"params": params}, x))
    expected = x @ np.asarray(params["kernel"]) + np.arange(4)
    np.testing.assert_allclose(apply(x), expected, rtol=1e-4)
    half = jax.eval_shape(apply, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16 and params["kernel"].dtype == jnp.float32
    assert "bias" not in jax.eval_shape(Linear(4, use_bias=False).init, key, x)["params"]

    scale, bias = rng.standard_normal((2, 6)).astype(np.float32)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    expected = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-6) * scale + bias
    np.testing.assert_allclose(jax.jit(layer_norm)(x, scale, bias), expected, atol=2e-4)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * scale
    np.testing.assert_allclose(jax.jit(rms_norm)(x, scale), expected, atol=1e-5)
    for norm in (rms_norm, layer_norm):
        assert jax.eval_shape(norm, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
