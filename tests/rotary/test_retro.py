"""ReTRo: the released scales, and that only temporal amplitudes change."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import (
    apply_gains,
    axis_frequencies,
    retro_gains,
    retro_scales,
    video_gains,
)


def test_scales_of_the_release():
    """Computed by hand from its edge region, its values and its box filter of width 5."""
    ends = [1.036, 1.012, 0.988, 0.964]
    np.testing.assert_allclose(
        retro_scales(21, 8 / 81), [*ends, *[0.94] * 13, *reversed(ends)], atol=1e-6
    )
    np.testing.assert_allclose(
        retro_scales(9, 3 / 33), [*ends[1:], *[0.94] * 3, *reversed(ends[1:])], atol=1e-6
    )


@pytest.mark.parametrize("n_frames, share", [(13, 0.2), (11, 0.1), (21, 0.1), (9, 0.25)])
def test_scales_are_symmetric_and_without_an_edge_constant(n_frames, share):
    scales = retro_scales(n_frames, share)
    np.testing.assert_allclose(scales, scales[::-1], atol=1e-6)
    assert np.ptp(scales) > 0.05
    np.testing.assert_allclose(retro_scales(n_frames, 0.0), 0.94, atol=1e-6)


@pytest.mark.parametrize("arguments", [dict(edge_share=0.6), dict(edge_share=0.1, smooth=-1)])
def test_impossible_settings_are_named(arguments):
    with pytest.raises(ConfigError, match=next(reversed(arguments))):
        retro_scales(9, **arguments)


def test_temporal_logits_are_scaled_by_both_frames_and_spatial_ones_not_at_all():
    freqs = axis_frequencies(24)
    shape, d_t = (5, 2, 3), 2 * freqs.t.shape[0]
    plain = video_gains(freqs, shape)
    scales = retro_scales(5, 0.2)
    scaled = retro_gains(plain, scales, freqs)
    rng = np.random.default_rng(0)
    q, k = (jax.device_put(np.float32(rng.standard_normal((1, 30, 1, 24)))) for _ in range(2))

    def logits(gains, dims):
        a, b = (np.asarray(apply_gains(x, gains))[0, :, 0, dims] for x in (q, k))
        return a @ b.T

    frame = np.repeat(scales, 6)
    temporal, spatial = slice(0, d_t), slice(d_t, None)
    np.testing.assert_allclose(
        logits(scaled, temporal), np.outer(frame, frame) * logits(plain, temporal), atol=1e-5
    )
    np.testing.assert_allclose(logits(scaled, spatial), logits(plain, spatial), atol=1e-6)
    assert not np.allclose(logits(scaled, temporal), logits(plain, temporal), atol=1e-2)


def test_phases_move_frames_and_nothing_else():
    """Each frame is as if it were at another time, and scales of samples are their own."""
    freqs, shape = axis_frequencies(24), (5, 2, 3)
    scales = np.stack([retro_scales(5, 0.2), np.ones(5)]).astype(np.float32)
    found = np.asarray(retro_gains(video_gains(freqs, shape), scales, freqs, "phase"))
    assert found.shape[0] == 2
    np.testing.assert_allclose(found[1], video_gains(freqs, shape)[0], atol=1e-6)
    frames = np.repeat(scales[0] * np.arange(5), 6)
    pairs = freqs.t.shape[0]
    np.testing.assert_allclose(
        found[0, :, :pairs], np.exp(1j * frames[:, None] * np.asarray(freqs.t)), atol=1e-5
    )
    np.testing.assert_array_equal(found[0, :, pairs:], video_gains(freqs, shape)[0, :, pairs:])
    np.testing.assert_allclose(np.abs(found), 1, atol=1e-5)
    amplitudes = retro_gains(video_gains(freqs, shape), scales, freqs)
    np.testing.assert_allclose(np.abs(amplitudes[0, ::6, 0]), scales[0], atol=1e-6)


def test_gains_are_scaled_in_double_precision():
    """Token by token; spatial pairs are as they were."""
    rng = np.random.default_rng(0)
    freqs = axis_frequencies(24)
    gains = rng.normal(size=(1, 30, 12)) + 1j * rng.normal(size=(1, 30, 12))
    scales = rng.uniform(0.5, 1.5, (2, 5))
    with jax.enable_x64(True):
        found = np.asarray(retro_gains(jax.device_put(gains), scales, freqs))
    assert found.dtype == np.complex128
    for sample, n, pair in np.ndindex(2, 30, 12):
        scale = scales[sample, n // 6] if pair < freqs.t.shape[0] else 1
        np.testing.assert_allclose(found[sample, n, pair], scale * gains[0, n, pair], rtol=1e-15)


def test_tokens_that_do_not_fit_the_frames_are_refused():
    freqs = axis_frequencies(24)
    with pytest.raises(ConfigError, match="30 tokens"):
        retro_gains(video_gains(freqs, (5, 2, 3)), np.ones(4, np.float32), freqs)
