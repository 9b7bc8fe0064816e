"""TempoControl's terms: those of their formulas in double precision, and their gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.sampling.control.tempo_losses import Terms, kept, spread, tempo_terms

pytestmark = pytest.mark.slow

T, N = 7, 6
terms_of = jax.jit(tempo_terms, static_argnums=(2, 3))  # dozens of small operations


def by_formula(attention, curve, threshold, trim):
    """One word, frame by frame and place by place, as the formulas are printed."""
    means = [sum(row) / N for row in attention]
    scaled = [(x - min(means)) / (max(means) - min(means) + 1e-6) for x in means]
    a, m = scaled[trim : T - trim], list(curve)[trim : T - trim]
    mean_a, mean_m = sum(a) / len(a), sum(m) / len(m)
    cov = sum((x - mean_a) * (y - mean_m) for x, y in zip(a, m, strict=True)) / len(a)
    var_a = sum((x - mean_a) ** 2 for x in a) / len(a)
    var_m = sum((y - mean_m) ** 2 for y in m) / len(m)
    correlation = cov / (np.sqrt(var_a + 1e-6) * np.sqrt(var_m + 1e-6))
    on = [j for j in range(T) if curve[j] > threshold]
    off = [j for j in range(T) if curve[j] <= threshold]
    sums = [sum(row) for row in attention]
    plus = sum(sums[j] for j in on) / len(on) if on else 0
    minus = sum(sums[j] for j in off) / len(off) if off else 0
    entropy = 0.0
    for j in on:
        for p in attention[j]:
            share = p / (sums[j] + 1e-10)
            entropy -= share * np.log(share + 1e-10) / len(on)
    return correlation, minus - plus, entropy


CURVES = {
    "binary": [0, 0, 1, 1, 0, 1, 0],
    "continuous": [0, 0.3, 0.71, 0.7, 0.2, 1, 0.9],
    "on": [1] * T,
    "off": [0] * T,
}


@pytest.mark.parametrize("trim", [0, 1])
def test_terms_are_those_of_the_formulas_in_double_precision(trim):
    rng = np.random.default_rng(0)
    attention = rng.uniform(0, 0.3, (2, len(CURVES), T, N)) ** 2
    curves = np.broadcast_to(np.array(list(CURVES.values()), float), (2, len(CURVES), T))
    with jax.enable_x64(True):
        found = terms_of(attention, curves, 0.7, trim)
        found = [np.asarray(term) for term in found]
    assert found[0].dtype == np.float64
    for at in np.ndindex(2, len(CURVES)):
        wanted = by_formula(attention[at], curves[at], 0.7, trim)
        np.testing.assert_allclose([term[at] for term in found], wanted, rtol=1e-12, atol=1e-14)
    correlations, entropies = found[0], found[2]
    assert (correlations[:, 2:] == 0).all() and (np.abs(correlations[:, :2]) > 0.01).all()
    assert (entropies[:, 3] == 0).all() and (entropies[:, :3] > 0.5).all()


def test_gradients_are_those_of_finite_differences():
    """In double precision, along random directions; a curve that never changes has none."""
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        attention = rng.uniform(0.01, 0.3, (len(CURVES), T, N))
        curves = jax.device_put(np.array(list(CURVES.values()), float))

        @jax.jit
        def terms(x):
            return jnp.stack(tempo_terms(x, curves, 0.7))

        slopes = np.asarray(jax.jit(jax.jacrev(terms))(attention))  # [term, word, word, t, n]
        for word in range(len(CURVES)):
            way = np.zeros_like(attention)
            way[word] = rng.standard_normal((T, N))
            up, down = (np.asarray(terms(attention + sign * 1e-6 * way)) for sign in (1, -1))
            numeric = ((up - down) / 2e-6)[:, word]
            found = np.einsum("xwtn,wtn->x", slopes[:, word], way)
            np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-8)
            assert np.abs(found).max() > 1e-3
        assert not np.any(slopes[0, 2:]) and np.any(slopes[0, :2])


def test_a_spread_is_the_standard_deviation_over_places():
    """Against its formula and finite differences; places that are all alike have no slope."""
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        attention = jax.device_put(rng.uniform(0, 0.3, (2, T, N)))
        for frame in np.ndindex(2, T):
            row = np.asarray(attention[frame])
            wanted = np.sqrt(sum((x - sum(row) / N) ** 2 for x in row) / N)
            np.testing.assert_allclose(spread(attention)[frame], wanted, rtol=1e-12)
        way = rng.standard_normal(attention.shape)
        up, down = (np.asarray(spread(attention + sign * 1e-6 * way)) for sign in (1, -1))
        slope = np.asarray(jax.grad(lambda x: spread(x).sum())(attention))
        np.testing.assert_allclose((slope * way).sum(-1), (up - down) / 2e-6, rtol=1e-6)
    even = jnp.full((T, 8), 0.25)  # whose mean is exact
    assert not np.any(jax.grad(lambda x: spread(x).sum())(even)) and (spread(even) < 1e-8).all()


def test_the_curve_is_correlated_with_the_signal_that_is_given():
    """All frames attend as much; their places do not while the curve is 1."""
    curve = np.array(CURVES["binary"], np.float32)
    uneven = np.float32([1, -1] + [0] * (N - 2))
    attention = jax.device_put(0.25 + 0.125 * curve[:, None] * uneven)
    assert terms_of(attention, curve, 0.7).correlation == 0
    found = tempo_terms(attention, jnp.asarray(curve), 0.7, signal=spread(attention))
    assert found.correlation == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found[1:], terms_of(attention, curve, 0.7)[1:], rtol=1e-5)


def test_attention_that_follows_its_curve_is_best():
    """Where the curve is, and in one place: correlation 1, and neither magnitude nor entropy."""
    curve = np.array(CURVES["binary"], np.float32)
    ideal = np.zeros((T, N), np.float32)
    ideal[:, 2] = curve
    spread = np.tile(curve[:, None] / N, (1, N))
    one, other, against = (terms_of(x, curve, 0.7) for x in (ideal, spread, 1 - spread))
    np.testing.assert_allclose(one, Terms(1.0, -1.0, 0.0), atol=1e-4)
    np.testing.assert_allclose(other, Terms(1.0, -1.0, np.log(N)), atol=1e-4)
    assert against.correlation == pytest.approx(-1, abs=1e-4) and against.magnitude > 0
    silent = terms_of(np.zeros((T, N), np.float32), curve, 0.7)
    np.testing.assert_allclose(silent, Terms(0.0, 0.0, 0.0), atol=1e-6)


@pytest.mark.parametrize(("frames", "left"), [(1, 1), (2, 2), (3, 3), (4, 2), (9, 7)])
def test_short_clips_keep_two_frames(frames, left):
    x = np.arange(frames, dtype=np.float32)
    assert jax.eval_shape(lambda x: kept(x, 1), x).shape == (left,)
    assert np.isfinite(terms_of(np.ones((frames, 3), np.float32), x, 0.5)).all()
