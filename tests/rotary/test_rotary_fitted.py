"""Fitted gains: coverage, the regression, and whether the fit is worth anything."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import FittedRope, Frequencies, WeRope, axis_frequencies, coverage, kernel
from alchemint_jax.scene import Clock

pytestmark = pytest.mark.slow


def latent(pixel):
    """Latent coordinate of a pixel frame, written separately from the package."""
    return np.interp(pixel, [0, 2.5, 402.5], [0, 1, 101])


def clock(latent_frames):
    return Clock.for_latents(latent_frames, 4)


def gains_of(scheme, rows, n_frames, freqs):
    """As one program, like `covered` below; other tests compare it with steps."""
    return np.asarray(jax.jit(lambda rows: scheme.gains(rows, n_frames, freqs))(rows))


covered = jax.jit(coverage, static_argnums=1)


def true_coverage(present):
    """Per latent frame mean of a boolean per pixel frame."""
    return np.array([present[0], *present[1:].reshape(-1, 4).mean(-1)])


@given(st.sampled_from([1, 3, 8]), st.data())
@settings(max_examples=40, deadline=None)
def test_coverage_counts_pixel_frames(k, data):
    n_pixels = 4 * k + 1
    present = np.zeros(n_pixels)
    rows = []
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, n_pixels - 1))
        end = data.draw(st.integers(start + 1, n_pixels))
        present[start:end] = 1  # intervals may overlap
        rows.append((latent(start), latent(end - 1)))
    rows += [(1.0, 0.0)] * (4 - len(rows))
    np.testing.assert_allclose(
        covered(np.array(rows, np.float32), clock(k + 1)), true_coverage(present), atol=1e-4
    )


def test_one_latent_frame():
    freqs = axis_frequencies(16)
    assert coverage(np.array([[0.0, 0.0]]), clock(1)).tolist() == [1.0]
    assert np.isfinite(FittedRope().gains(np.array([[0.0, 0.0]]), 1, freqs)).all()


@pytest.mark.parametrize(
    "head_dim, theta, n_frames", [(128, 1e4, 21), (48, 30.0, 9), (16, 10.0, 4)]
)
@pytest.mark.parametrize("ridge", [0.02, 0.5])
def test_gains_solve_the_stated_least_squares(head_dim, theta, n_frames, ridge):
    freqs = axis_frequencies(head_dim, theta_t=theta)
    pairs = len(freqs.t)
    rows = np.array([[0.4, 1.8], [2.125, n_frames - 1.3]], np.float32)
    gains = gains_of(FittedRope(ridge), rows, n_frames, freqs)[:pairs]

    target = 2 * np.asarray(covered(rows, clock(n_frames)), np.float64) - 1
    turn = np.exp(-1j * np.arange(n_frames)[:, None] * freqs.t.astype(np.float64)) / pairs
    # sum (Re(turn g) - target)^2 + ridge / pairs * |g|^2, as one ordinary least squares.
    design = np.concatenate([turn.real, -turn.imag], axis=1)
    stacked = np.concatenate([design, np.sqrt(ridge / pairs) * np.eye(2 * pairs)])
    parts = np.linalg.lstsq(stacked, np.append(target, np.zeros(2 * pairs)), rcond=None)[0]
    expected = parts[:pairs] + 1j * parts[pairs:]
    expected /= np.sqrt(np.mean(np.abs(expected) ** 2))
    np.testing.assert_allclose(gains, expected, atol=1e-4)
    assert np.mean(np.abs(gains) ** 2) == pytest.approx(1, abs=1e-5)


def report(scheme, freqs, n_frames):
    """Mean AUC, and how well the profile tells true lengths, over a clip's intervals."""
    n_pixels = 4 * (n_frames - 1) + 1
    spans = [(s, e) for s in range(0, n_pixels, 4) for e in range(s + 3, n_pixels + 1, 4)]
    rows = np.array([[(latent(s), latent(e - 1))] for s, e in spans], np.float32)
    profile = np.asarray(kernel(gains_of(scheme, rows, n_frames, freqs), n_frames, freqs))
    aucs, shown, asked = [], [], []
    for (start, end), s in zip(spans, profile, strict=True):
        present = np.zeros(n_pixels)
        present[start:end] = 1
        cover = true_coverage(present)
        inside, outside = s[cover > 0.5], s[cover < 0.5]
        if len(inside) and len(outside):
            aucs.append(np.mean(inside[:, None] > outside[None, :]))
            asked.append(cover.mean())
            shown.append(np.mean(s > (s.max() + s.min()) / 2))
    return np.mean(aucs), np.corrcoef(shown, asked)[0, 1]


@pytest.mark.parametrize("n_frames, dims, theta", [(9, 16, 30.0), (21, 44, 1e4)])
def test_the_fit_separates_and_tracks_length_better_than_werope(n_frames, dims, theta):
    ladder = (theta ** (-np.arange(0, dims, 2) / dims)).astype(np.float32)
    freqs = Frequencies(ladder, ladder[:1], ladder[:1])
    auc, length = report(FittedRope(), freqs, n_frames)
    _, werope_length = report(WeRope(), freqs, n_frames)
    assert auc == 1.0
    assert length > 0.85
    assert length > werope_length + 0.3


def test_several_plateaus():
    freqs = axis_frequencies(128)
    rng = np.random.default_rng(0)
    cuts = np.sort([rng.choice(82, 4, replace=False) for _ in range(40)], axis=-1)
    rows = latent(cuts.reshape(40, 2, 2) - [0, 1]).astype(np.float32)
    cover = np.asarray(covered(rows, clock(21)))

    def aucs(scheme):
        profiles = np.asarray(kernel(gains_of(scheme, rows, 21, freqs), 21, freqs))
        return [
            np.mean(s[c > 0.5][:, None] > s[c < 0.5][None, :])
            for s, c in zip(profiles, cover, strict=True)
            if c.max() > 0.5 > c.min()
        ]

    fitted, mixed = aucs(FittedRope()), aucs(WeRope())
    assert np.mean(fitted) > 0.98 and np.min(fitted) > 0.9
    # The mean of two WeRope gains separates less well: the fit is more than a mixture.
    assert np.mean(fitted) > np.mean(mixed) + 0.05


def test_ridge_must_be_positive():
    with pytest.raises(ConfigError):
        FittedRope(ridge=0.0)
