"""Fewer products along time give what the plain sum over taps gives, about as exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.ops.conv import conv3d_valid
from alchemint_jax.ops.winograd import convolve_time, tables

pytestmark = pytest.mark.slow


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _times(x, tap):
    return jnp.einsum("bfhwc,ijco->bfhwo", x, tap, precision="highest")


def _plain(x, kernel):
    """In float64, of kernels that look at one pixel."""
    count = x.shape[1] - 2
    wide = np.asarray(x, np.float64)
    taps = [wide[:, i : i + count] @ np.float64(tap[0, 0]) for i, tap in enumerate(kernel)]
    return sum(taps)


@pytest.mark.parametrize("m", [2, 4])
def test_tables_are_an_identity_of_polynomials(m):
    frames, taps, back = tables(m)
    products = np.einsum("yp,pf,pt->yft", back, frames, taps)
    expected = np.stack([np.eye(m + 2)[y : y + 3].T for y in range(m)])
    np.testing.assert_allclose(products, expected, atol=1e-14)


@pytest.mark.parametrize("m", [2, 4])
def test_none_of_the_tables_could_be_another(m):
    frames, taps, back = tables(m)
    expected = np.stack([np.eye(m + 2)[y : y + 3].T for y in range(m)])
    for point in range(m + 2):
        changed = frames.copy()
        changed[point] *= 1.01
        found = np.einsum("yp,pf,pt->yft", back, changed, taps)
        assert np.abs(found - expected).max() > 1e-3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 2),
    frames=st.integers(3, 14),
    size=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    channels=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_any_number_of_frames_is_the_plain_sum(batch, frames, size, channels, seed):
    x = _normal(seed, batch, frames, *size, channels)
    kernel = _normal(seed + 1, 3, 1, 1, channels, 5) / np.float32(3 * channels) ** 0.5
    y = np.asarray(jax.jit(lambda x, k: convolve_time(x, k, _times))(x, kernel))
    expected = _plain(x, kernel)
    assert y.shape == expected.shape
    # Values are of about 1, and float32 keeps 24 bits of each; in 14 frames some 30 sums round.
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-2, "vacuous"


def test_it_loses_little_to_rounding():
    """Of layers as wide as Wan's, at most five times what plain sums lose."""
    x = _normal(0, 1, 10, 12, 12, 384)
    kernel = _normal(1, 3, 1, 1, 384, 32) / np.float32(3 * 384) ** 0.5
    exact = _plain(x, kernel)

    @jax.jit
    def both(x, kernel):
        plain = sum(_times(x[:, i : i + 8], tap) for i, tap in enumerate(kernel))
        return convolve_time(x, kernel, _times), plain

    lost, plain = (np.sqrt(np.mean((np.float64(y) - exact) ** 2)) for y in both(x, kernel))
    assert 0 < lost < 2e-6
    assert lost < 5 * plain


def _products(kernel, dtype, frames=9, stride=1):
    """How many frames are convolved, of a layer of these sizes."""
    x = jax.ShapeDtypeStruct((1, frames, 8, 8, kernel[3]), dtype)
    w, bias = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (kernel, kernel[4:]))
    jaxpr = jax.make_jaxpr(lambda *given: conv3d_valid(*given, stride))(x, w, bias)
    convolutions = [e for e in jaxpr.eqns if e.primitive.name == "conv_general_dilated"]
    return sum(e.outvars[0].aval.shape[0] for e in convolutions)


def test_layers_of_the_autoencoder_take_fewer_products_on_a_cpu():
    wide = (3, 3, 3, 32, 32)
    assert _products(wide, jnp.float32) == 4 + 6 + 3  # of seven frames: four, two, one
    assert _products((3, 3, 3, 32, 3), jnp.float32) == 13
    assert _products((3, 3, 3, 8, 8), jnp.float32) == 9  # all taps of a frame at once
    assert _products(wide, jnp.bfloat16) == 21  # rounding would show
    assert _products(wide, jnp.float32, stride=2) == 12


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_elsewhere_nothing_changes(platform, monkeypatch):
    monkeypatch.setattr("alchemint_jax.ops.conv.platform", lambda: platform)
    assert _products((3, 3, 3, 32, 32), jnp.float32) == 21


def test_gradients_are_those_of_the_plain_sum(monkeypatch):
    x, kernel, bias = _normal(0, 2, 9, 4, 5, 3), _normal(1, 3, 3, 3, 3, 18), _normal(2, 18)
    weight = _normal(3, 2, 7, 4, 5, 18)

    def gradients():
        def total(*given):
            return (conv3d_valid(*given) * weight).sum()

        return jax.jit(jax.grad(total, (0, 1, 2)))(x, kernel, bias)

    found = gradients()
    monkeypatch.setattr("alchemint_jax.ops.conv.platform", lambda: "tpu")
    for one, expected in zip(found, gradients(), strict=True):
        scale = np.abs(expected).max()
        assert scale > 1
        np.testing.assert_allclose(one / scale, expected / scale, atol=5e-6)
