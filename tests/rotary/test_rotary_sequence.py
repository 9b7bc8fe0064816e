"""Tables for the whole sequence, and their application."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import (
    FittedRope,
    MidRope,
    NoInterval,
    ReferenceLayout,
    WeRope,
    apply_gains,
    axis_frequencies,
    grid_gains,
    sequence_gains,
    video_gains,
)

pytestmark = pytest.mark.slow

FREQS = axis_frequencies(32)
SHAPE = (5, 2, 3)
VIDEO = 30
INTERVALS = np.array(
    [[[[0.4, 2.0], [1, 0]], [[1.0, 3.0], [3.5, 4.375]]], [[[0, 4.375], [1, 0]], [[1, 0], [1, 0]]]],
    np.float32,
)


def tables(freqs, video_shape, intervals, scheme, *args, **options):
    """As one program; `test_compiles_with_intervals_as_an_argument` compares it with steps."""

    def build(intervals):
        return sequence_gains(freqs, video_shape, intervals, scheme, *args, **options)

    return [np.asarray(x) for x in jax.jit(build)(intervals)]


@functools.cache
def subject_gains(scheme):
    return np.asarray(jax.jit(lambda x: scheme.gains(x, SHAPE[0], FREQS))(INTERVALS))


def at(scheme, b, r, y, x):
    """A token's gain from the definition: the scheme's gain turned to (y, x)."""
    gain = subject_gains(scheme)[b, r]
    place = np.exp(1j * np.concatenate([0 * FREQS.t, y * FREQS.h, x * FREQS.w]))
    return gain * place


@pytest.mark.parametrize("scheme", [WeRope(), FittedRope(), NoInterval()], ids=str)
def test_order_and_places(scheme):
    q, k = tables(FREQS, SHAPE, INTERVALS, scheme, ref_grid=(2, 2), n_tag_tokens=3)
    assert q.shape == k.shape == (2, VIDEO + 2 * 4 + 2 * 3, 16)
    np.testing.assert_array_equal(q, k)
    np.testing.assert_array_equal(k[0, :VIDEO], grid_gains(*SHAPE, FREQS))
    for b in range(2):
        for r in range(2):
            for y in range(2):
                for x in range(2):
                    token = k[b, VIDEO + 4 * r + 2 * y + x]
                    np.testing.assert_allclose(token, at(scheme, b, r, y, x), atol=1e-5)
            for j in range(3):
                token = k[b, VIDEO + 8 + 3 * r + j]
                np.testing.assert_allclose(token, at(scheme, b, r, 2 + j, 3 + j), atol=1e-5)


def test_only_keys_are_mixed_when_asked():
    both = dict(freqs=FREQS, video_shape=SHAPE, intervals=INTERVALS, n_tag_tokens=2)
    q, k = tables(scheme=WeRope(), mix_queries=False, **both)
    np.testing.assert_array_equal(q, tables(scheme=MidRope(), **both)[0])
    np.testing.assert_array_equal(k, tables(scheme=WeRope(), **both)[1])
    assert np.abs(q - k).max() > 0.1
    blind = tables(scheme=NoInterval(), mix_queries=False, **both)[0]
    np.testing.assert_array_equal(blind[:, VIDEO : VIDEO + 6], blind[:, VIDEO + 6 : VIDEO + 12])


def test_no_references():
    q, k = tables(FREQS, SHAPE, np.zeros((3, 0, 2, 2), np.float32), WeRope(), (4, 4), 5)
    assert q.shape == (3, VIDEO, 16)
    video = video_gains(FREQS, SHAPE)
    assert video.shape == (1, VIDEO, 16)
    np.testing.assert_array_equal(k, np.broadcast_to(video, k.shape))


def test_r_rope_puts_references_beyond_the_grid_at_their_slot_time():
    layout = ReferenceLayout.r_rope(2)
    _, k = tables(FREQS, SHAPE, INTERVALS, WeRope(), (2, 2), 1, layout)
    for r in range(2):
        expected = grid_gains(1, 2, 2, FREQS, t0=r, h0=2, w0=3)
        for b in range(2):
            np.testing.assert_allclose(k[b, VIDEO + 4 * r : VIDEO + 4 * r + 4], expected, atol=1e-5)
        tag = grid_gains(1, 1, 1, FREQS, t0=r, h0=4, w0=5)[0]
        np.testing.assert_allclose(k[0, VIDEO + 8 + r], tag, atol=1e-5)


@pytest.mark.parametrize(("offset", "last"), [(None, False), ((80, 80), False), ((80, 80), True)])
def test_r_rope_is_its_formula_evaluated_in_double_precision(offset, last):
    """Ladders, places and times from equation 4; gains are float32, and so are angles.

    An angle is a product of two numbers that are rounded to 24 bits, and is rounded itself.
    """
    layout = ReferenceLayout.r_rope(3, offset, last)
    spans = np.zeros((1, 3, 1, 2), np.float32)
    _, k = tables(axis_frequencies(32), SHAPE, spans, NoInterval(), (2, 4), 0, layout)
    h, w = offset or SHAPE[1:]
    sizes = (12, 10, 10)  # of the three bands of 32 dimensions
    for token, (r, y, x) in enumerate(np.ndindex(3, 2, 4)):
        place = (r + (SHAPE[0] if last else 0), h + y, w + x)
        angles = [
            p * 10000.0 ** (-i / size)
            for p, size in zip(place, sizes, strict=True)
            for i in range(0, size, 2)
        ]
        off = np.abs(k[0, VIDEO + token] - np.exp(1j * np.array(angles)))
        assert (off <= 2.0**-23 * (4 + np.array(angles))).all()


@pytest.mark.parametrize(
    "layout, starts, tags",
    [
        (ReferenceLayout(), [(0, 0)] * 2, [(2, 3)] * 2),
        (ReferenceLayout(shift_hw=True), [(2, 3)] * 2, [(4, 6)] * 2),
        (ReferenceLayout(shift_hw=True, offset=(0, 3)), [(0, 3)] * 2, [(2, 6)] * 2),
        (ReferenceLayout(shift_hw=True, offset=(80, 80)), [(80, 80)] * 2, [(82, 83)] * 2),
        (ReferenceLayout(shift_hw=True, stagger=True), [(2, 3), (4, 6)], [(4, 6), (6, 9)]),
    ],
)
def test_layouts_keep_the_interval_and_move_the_place(layout, starts, tags):
    _, k = tables(FREQS, SHAPE, INTERVALS, WeRope(), n_tag_tokens=2, layout=layout)
    for r, ((y, x), tag) in enumerate(zip(starts, tags, strict=True)):
        np.testing.assert_allclose(
            k[0, VIDEO + 6 * r + 5], at(WeRope(), 0, r, y + 1, x + 2), atol=3e-5
        )
        np.testing.assert_allclose(
            k[0, VIDEO + 12 + 2 * r + 1], at(WeRope(), 0, r, tag[0] + 1, tag[1] + 1), atol=3e-5
        )


def test_missing_slot_times_are_refused():
    with pytest.raises(ConfigError, match="slot_times"):
        sequence_gains(FREQS, SHAPE, INTERVALS, WeRope(), layout=ReferenceLayout(slot_times=(0,)))


def test_timing_goes_from_the_slots_times_to_the_scheme():
    weight = np.linspace(1, 0, 16, dtype=np.float32)  # of each pair, so that both ends are in it
    for mixed in (True, False):
        build = functools.partial(tables, FREQS, SHAPE, INTERVALS, WeRope(), mix_queries=mixed)
        fixed, timed = ReferenceLayout.trailing(2), ReferenceLayout()
        ends = zip(build(layout=fixed), build(layout=timed), strict=True)
        wanted = [(1 - weight) * a + weight * b for a, b in ends]
        found = build(layout=fixed, timing=weight)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)
        still = build(layout=fixed, timing=np.zeros(16, np.float32))
        np.testing.assert_array_equal(still, build(layout=fixed))
        assert np.abs(found[1] - still[1]).max() > 0.1
        assert (np.abs(found[0] - found[1]).max() > 0.1) != mixed
    with pytest.raises(ConfigError, match="timing: does nothing without layout.slot_times"):
        sequence_gains(FREQS, SHAPE, INTERVALS, WeRope(), timing=weight)


@pytest.mark.parametrize(
    "settings, says",
    [
        (dict(offset=(9, 9)), "offset: does nothing without shift_hw"),
        (dict(stagger=True), "stagger: does nothing without shift_hw"),
        (dict(shift_hw=True, offset=(8, -1)), r"offset = \(8, -1\): must be two"),
    ],
)
def test_layouts_that_mean_nothing_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        ReferenceLayout(**settings)


@pytest.mark.parametrize(
    "layout",
    [
        ReferenceLayout(),
        ReferenceLayout(shift_hw=True),
        ReferenceLayout(shift_hw=True, stagger=True),
        ReferenceLayout.r_rope(3),
    ],
    ids=str,
)
def test_empty_slots_change_nothing_before_them(layout):
    padded = np.concatenate([INTERVALS, np.full((2, 1, 2, 2), (1, 0), np.float32)], axis=1)
    _, few = tables(FREQS, SHAPE, INTERVALS, WeRope(), n_tag_tokens=2, layout=layout)
    _, more = tables(FREQS, SHAPE, padded, WeRope(), n_tag_tokens=2, layout=layout)
    keep = np.r_[0 : VIDEO + 12, VIDEO + 18 : VIDEO + 22]
    np.testing.assert_array_equal(more[:, keep], few)
    assert np.isfinite(more).all()


def test_compiles_with_intervals_as_an_argument():
    build = lambda x: sequence_gains(FREQS, SHAPE, x, FittedRope(), n_tag_tokens=2)  # noqa: E731
    for compiled, eager in zip(jax.jit(build)(INTERVALS), build(INTERVALS), strict=True):
        np.testing.assert_allclose(compiled, eager, atol=3e-6)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=10, deadline=None)
def test_apply_is_a_complex_product_of_interleaved_pairs(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, 4, 8)).astype(np.float32)
    g = (rng.normal(size=(2, 3, 4)) + 1j * rng.normal(size=(2, 3, 4))).astype(np.complex64)
    product = (x[..., 0::2] + 1j * x[..., 1::2]) * g[:, :, None]
    expected = np.stack([product.real, product.imag], axis=-1).reshape(x.shape)
    np.testing.assert_allclose(apply_gains(x, g), expected, atol=1e-5)
    np.testing.assert_allclose(apply_gains(x, g[:1])[0], expected[0], atol=1e-5)


def test_apply_computes_in_float32_and_keeps_the_dtype():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, VIDEO, 2, 32)), jnp.bfloat16)
    gains = video_gains(FREQS, SHAPE)
    out = apply_gains(x, gains)
    assert out.dtype == jnp.bfloat16
    exact = apply_gains(x.astype(jnp.float32), gains)
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))
    assert "complex64[1,30,2" not in str(jax.make_jaxpr(apply_gains)(x, gains))
