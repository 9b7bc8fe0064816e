"""Every implementation of attention is the plain one: outputs and gradients, masks and lengths.

Kernels run on CPU here: splash interpreted, and cuDNN's place taken by JAX's own attention, so that
all around it is tested. What cuDNN itself is asked for is read from a program lowered for CUDA.
"""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.ops.cudnn import cudnn
from alchemint_jax.ops.plain import blocked, grouped, plain
from alchemint_jax.ops.splash import block_size, splash

pytestmark = pytest.mark.slow

KERNELS = {
    "blocked": functools.partial(blocked, block=48),
    "grouped": functools.partial(grouped, most=2 * 40 * 50),  # two heads of four, or one
    "splash": functools.partial(splash, interpret=True),
    "cudnn": functools.partial(cudnn, implementation="xla"),
}
# Float32, standard normal inputs, some hundred keys: sums in another order differ by less.
TOLERANCE = 5e-6


def _qkv(queries, keys, dim=64):
    rng = np.random.default_rng(0)
    lengths = (queries, keys, keys)
    return [jax.device_put(np.float32(rng.standard_normal((2, n, 2, dim)))) for n in lengths]


def _mask(keys):
    """Holes anywhere, other ones in each sample, the first and the last key among them."""
    seen = np.random.default_rng(1).random((2, keys)) < 0.6
    seen[0, 0] = seen[1, -1] = False
    return jax.device_put(seen)


@functools.cache
def _result(name, queries, keys, masked):
    """Output and gradients."""
    attend = KERNELS.get(name, plain)

    def loss(q, k, v):
        y = attend(q, k, v, _mask(keys) if masked else None)
        return jnp.sum(jnp.sin(y)), y

    gradients, y = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*_qkv(queries, keys))
    return [np.asarray(x) for x in (y, *gradients)]


@pytest.mark.parametrize(
    "shape", [(200, 300, False), (200, 300, True), (131, 77, False), (131, 77, True)], ids=str
)
@pytest.mark.parametrize("name", KERNELS)
def test_outputs_and_gradients_are_those_of_plain_attention(name, shape):
    for a, b in zip(_result(name, *shape), _result("plain", *shape), strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)
        assert np.abs(b).max() > 0.1
    # The mask matters far more than the tolerance.
    if shape == (200, 300, True):
        assert np.abs(_result(name, 200, 300, False)[0] - _result(name, *shape)[0]).max() > 0.1


@pytest.mark.parametrize("name", KERNELS)
def test_masked_keys_have_exactly_no_effect_and_no_gradient(name):
    attend, mask = jax.jit(KERNELS[name]), np.asarray(_mask(50))
    q, k, v = (np.asarray(x) for x in _qkv(40, 50))
    hidden = ~mask[:, :, None, None]
    y = np.asarray(attend(q, k, v, mask))
    other = attend(q, np.where(hidden, 50 * k + 3, k), np.where(hidden, 1e3 - v, v), mask)
    np.testing.assert_array_equal(other, y)
    assert np.abs(np.asarray(attend(q, k, np.where(hidden, v, -v), mask)) - y).max() > 0.1
    for gradient in _result(name, 131, 77, True)[2:]:
        seen = np.asarray(_mask(77))
        assert not gradient[~seen].any()
        assert np.abs(gradient[seen]).max(axis=(1, 2)).min() > 0


@pytest.mark.parametrize("name", KERNELS)
def test_half_precision_is_kept_and_near(name):
    q, k, v = (np.asarray(x) for x in _qkv(40, 50))
    half = jax.jit(KERNELS[name])(*(x.astype(jnp.bfloat16) for x in (q, k, v)), _mask(50))
    assert half.dtype == jnp.bfloat16
    whole = jax.jit(plain)(q, k, v, _mask(50))
    np.testing.assert_allclose(np.asarray(half, np.float32), whole, atol=0.05)


def test_whatever_cudnn_leaves_where_nothing_is_seen_goes_nowhere():
    (q, k, v), mask = _qkv(40, 50), _mask(50)
    hidden = ~np.asarray(mask)[:, :, None, None]

    @jax.jit
    def gradients(k, v):
        return jax.grad(lambda k, v: jnp.sum(KERNELS["cudnn"](q, k, v, mask)), (0, 1))(k, v)

    lost = (np.where(hidden, np.float32(np.nan), x) for x in (k, v))
    for a, b in zip(gradients(*lost), gradients(k, v), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


def test_gradients_of_keys_are_summed_over_blocks_in_float32():
    """2048 blocks give half a unit each to either value; in bfloat16 the sum would stop at 128."""
    q, kv = jnp.zeros((1, 2048, 1, 8), jnp.bfloat16), jnp.zeros((1, 2, 1, 8), jnp.bfloat16)
    loss = lambda v: jnp.sum(blocked(q, kv, v, block=1).astype(jnp.float32))  # noqa: E731
    gradient = jax.jit(jax.grad(loss))(kv)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(gradient, np.float32), 1024)


def _temporaries(attend, tokens):
    x = jax.ShapeDtypeStruct((1, tokens, 1, 16), jnp.float32)
    gradient = jax.grad(lambda q, k, v: jnp.sum(attend(q, k, v) ** 2), (0, 1, 2))
    return jax.jit(gradient).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes


def test_blocks_need_memory_that_grows_with_the_sequence_not_its_square():
    small, large = (_temporaries(functools.partial(blocked, block=64), n) for n in (1024, 2048))
    assert large < 2.2 * small
    assert _temporaries(plain, 2048) > 3.5 * _temporaries(plain, 1024) > 3.5 * small


def test_heads_are_taken_together_as_long_as_their_probabilities_are_few():
    def formed(most, tokens=6):
        x = jax.ShapeDtypeStruct((2, tokens, 3, 4), jnp.float32)
        text = str(jax.make_jaxpr(functools.partial(grouped, most=most))(x, x, x))
        shapes = {"6,6": 1} | {f"{g},6,6": g for g in (1, 2, 3, 6)}
        return {g for shape, g in shapes.items() if f"f32[{shape}]" in text}, "scan" in text

    assert formed(36) == ({1}, True)  # a head's own, and so for fewer
    assert formed(1) == ({1}, True)
    assert formed(5 * 36) == ({3}, True)  # five do not divide six
    x = _qkv(6, 6, 4)
    plainly = jax.jit(plain).lower(*x).as_text().replace("jit_plain", "jit_grouped")
    assert jax.jit(grouped).lower(*x).as_text() == plainly


@pytest.mark.parametrize("masked", [False, True], ids=["all keys", "masked"])
def test_gradients_of_grouped_heads_are_those_of_the_softmax_in_float64(masked):
    """The products are float64 here; the exponentials and their sums are float32, as everywhere."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(5)
        q, k, v, weight = (rng.standard_normal((2, n, 4, 8)) for n in (9, 13, 13, 9))
        mask = _mask(13)[:2] if masked else None

        def softmax(q, k, v):
            logits = jnp.einsum("bnkd,bmkd->bknm", q, k) * 8**-0.5
            if masked:
                logits = jnp.where(mask[:, None, None], logits, -jnp.inf)
            return jnp.einsum("bknm,bmkd->bnkd", jax.nn.softmax(logits), v)

        def gradients(attend):
            run = jax.grad(lambda *qkv: jnp.sum(attend(*qkv) * weight), (0, 1, 2))
            return jax.jit(run)(q, k, v)

        found = gradients(lambda *qkv: grouped(*qkv, mask, most=2 * 9 * 13))
        for a, b in zip(found, gradients(softmax), strict=True):
            assert a.dtype == np.float64
            # Seen: 3e-7 of the largest; a gradient without the sum over keys is off by as much.
            np.testing.assert_allclose(a, b, atol=2e-6 * np.abs(b).max())


def test_a_sample_without_a_key_has_the_mean_of_its_values_and_no_gradient_of_queries():
    q, k, v = _qkv(9, 13, 8)
    mask = jnp.asarray([[False] * 13, [True] * 13])

    def loss(q, k, v):
        y = grouped(q, k, v, mask, most=9 * 13)
        return jnp.sum(y**2), y

    (dq, dk, _), y = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(q, k, v)
    np.testing.assert_allclose(y[0], np.broadcast_to(v[0].mean(0), y[0].shape), atol=1e-6)
    assert not np.any(dq[0]) and not np.any(dk[0])
    assert np.any(dq[1]) and np.any(dk[1])


def test_blocks_of_splash_are_lanes_and_pad_little():
    for tokens in [*range(1, 6000, 37), 32_760, 35_912, 75_600]:
        size, padding = block_size(tokens), -tokens % block_size(tokens)
        assert size % 128 == 0 and 128 <= size <= 1024
        assert padding <= -tokens % 1024 and padding < max(128, size)
        assert tokens <= 1024 or size >= 512  # small blocks keep a chip waiting for its memory
    assert -35_912 % block_size(35_912) < 0.01 * 35_912 < -35_912 % 1024


def test_cudnn_is_asked_for_its_fused_kernel_without_a_bias(monkeypatch):
    """A bias would be n m numbers. The program is for CUDA, which need not be there to lower it."""
    patched = "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version"
    monkeypatch.setattr(patched, lambda: 91000)
    q, kv = (jax.ShapeDtypeStruct((2, n, 2, 64), jnp.bfloat16) for n in (333, 777))
    seen = jax.ShapeDtypeStruct((2, 777), bool)
    gradient = jax.grad(lambda q, k, v, m: jnp.sum(cudnn(q, k, v, m) ** 2), (0, 1, 2))
    for mask in (seen, None):
        traced = jax.jit(gradient).trace(q, kv, kv, mask)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
        assert "__cudnn$fmhaSoftmax(" in text and "__cudnn$fmhaSoftmaxBackward(" in text
        assert "Bias" not in text and not re.search("33[34]x77[78]", text)
