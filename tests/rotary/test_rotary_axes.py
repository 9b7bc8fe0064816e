"""Plain RoPE: frequencies, grids, and what attention sees of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import apply_gains, axis_frequencies, grid_gains, kernel, rotation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("head_dim", [6, 16, 48, 64, 96, 128])
def test_a_head_is_split_as_wan_splits_it(head_dim):
    freqs = axis_frequencies(head_dim)
    each = head_dim // 6
    assert [len(f) for f in freqs] == [head_dim // 2 - 2 * each, each, each]


def test_ladder_and_theta():
    freqs = axis_frequencies(128, theta_t=30.0)
    np.testing.assert_allclose(freqs.t, 30.0 ** (-2 * np.arange(22) / 44), rtol=1e-6)
    np.testing.assert_allclose(freqs.w, 1e4 ** (-2 * np.arange(21) / 42), rtol=1e-6)
    assert freqs.t.dtype == np.float32


@pytest.mark.parametrize("bad", [{"head_dim": 7}, {"head_dim": 4}, {"head_dim": 64, "theta_t": 0}])
def test_impossible_heads_are_refused(bad):
    with pytest.raises(ConfigError):
        axis_frequencies(**bad)


def test_grid_is_row_major_and_starts_where_told():
    freqs = axis_frequencies(16)
    gains = np.asarray(grid_gains(2, 3, 4, freqs, t0=-1, h0=5.5, w0=7)).reshape(2, 3, 4, 8)
    expected = np.exp(1j * np.concatenate([0 * freqs.t, 7.5 * freqs.h, 10 * freqs.w]))
    np.testing.assert_allclose(gains[1, 2, 3], expected, atol=1e-5)
    np.testing.assert_allclose(np.abs(gains), 1, atol=1e-6)


def test_rotation_takes_any_shape_and_fractions():
    freqs = axis_frequencies(32).t
    positions = np.array([[0.25, -3.5, 2.0]])
    expected = np.exp(1j * positions[..., None] * freqs.astype(np.float64))
    np.testing.assert_allclose(rotation(positions, freqs), expected, atol=1e-6)
    assert rotation(1.5, freqs).shape == freqs.shape


@given(st.tuples(*[st.integers(-20, 20)] * 3))
@settings(max_examples=10, deadline=None)
def test_attention_logits_see_relative_positions_only(shift):
    freqs = axis_frequencies(32)
    q, k = np.random.default_rng(0).normal(size=(2, 1, 12, 2, 32)).astype(np.float32)

    def logits(q_shift, k_shift):
        rotated = [
            apply_gains(x, grid_gains(3, 2, 2, freqs, *s)[None])
            for x, s in ((q, q_shift), (k, k_shift))
        ]
        return np.asarray(jnp.einsum("bnkd,bmkd->bknm", *rotated))

    here = logits((0, 0, 0), (0, 0, 0))
    np.testing.assert_allclose(logits(shift, shift), here, atol=2e-4)
    # The property is not vacuous: shifting the keys alone does change the logits.
    assert np.abs(logits((0, 0, 0), (1, 0, 0)) - here).max() > 0.1


def test_kernel_of_plain_rope_peaks_at_its_own_frame():
    freqs = axis_frequencies(128)
    profile = kernel(rotation(np.arange(21), freqs.t), 21, freqs)
    np.testing.assert_allclose(np.diag(profile), 1, atol=1e-5)
    assert (np.argmax(profile, axis=1) == np.arange(21)).all()


def test_kernel_is_the_expected_attention_score():
    freqs = axis_frequencies(48)
    rng = np.random.default_rng(1)
    gain = (rng.normal(size=24) + 1j * rng.normal(size=24)).astype(np.complex64)
    x = rng.normal(size=(1, 1, 4000, 48)).astype(np.float32)
    keys = apply_gains(x, gain[None, None])
    scores = []
    for t in range(5):
        queries = apply_gains(x, grid_gains(1, 1, 1, freqs, t0=t)[None])
        temporal = slice(0, 2 * len(freqs.t))
        scores.append((queries[..., temporal] * keys[..., temporal]).sum(-1).mean())
    np.testing.assert_allclose(
        np.array(scores) / (2 * len(freqs.t)), kernel(gain, 5, freqs), atol=0.03
    )


def test_everything_compiles_with_frequencies_as_arguments():
    freqs = axis_frequencies(32)
    compiled = jax.jit(lambda f, t0: grid_gains(2, 2, 3, f, t0=t0))(freqs, 1.5)
    np.testing.assert_allclose(compiled, grid_gains(2, 2, 3, freqs, t0=1.5), atol=1e-6)
