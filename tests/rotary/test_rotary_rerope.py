"""ReRoPE: warped time, ties at transitions, padding."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.rotary import (
    axis_frequencies,
    rerope_key_gains,
    rerope_query_gains,
    rerope_times,
    rotation,
)

FREQS = axis_frequencies(64)
T = 21


times_of = jax.jit(rerope_times, static_argnums=(1, 2))
queries_of = jax.jit(lambda events: rerope_query_gains(events, T, FREQS))
keys_of = jax.jit(lambda events: rerope_key_gains(events, FREQS))


def rows(*pairs):
    return np.array(pairs, np.float32)


@given(st.lists(st.integers(1, 19), min_size=1, max_size=4, unique=True), st.sampled_from([4, 8]))
@settings(max_examples=25, deadline=None)
def test_contiguous_events_follow_the_formula(cuts, length):
    edges = [0, *sorted(cuts), 20]
    events = list(zip(edges[:-1], edges[1:], strict=True))
    times = np.asarray(times_of(rows(*events), T, length))
    for n, (start, end) in enumerate(events):
        t = np.arange(start, end + 1)
        np.testing.assert_allclose(
            times[start : end + 1], (t - start) * length / (end - start) + n * length, atol=1e-4
        )


def test_frames_in_no_event_take_the_nearest_edge():
    times = np.asarray(times_of(rows((3, 6), (9, 15)), T))
    np.testing.assert_allclose(times[:4], 0, atol=1e-5)
    np.testing.assert_allclose(times[6:10], 8, atol=1e-5)
    np.testing.assert_allclose(times[15:], 16, atol=1e-5)


def test_an_event_of_one_instant_is_a_step():
    times = np.asarray(times_of(rows((0, 5), (6, 6), (7, 20)), T))
    np.testing.assert_allclose(times[5:8], [8, 12, 16], atol=1e-4)


def test_each_frame_is_closest_to_its_own_event_and_ties_at_a_transition():
    events = rows((0, 4), (4, 20))
    freqs = axis_frequencies(128)
    pairs = len(freqs.t)
    q = np.asarray(rerope_query_gains(events, T, freqs))[:, :pairs]
    k = np.asarray(rerope_key_gains(events, freqs))[:, :pairs]
    by_event = np.real(q @ k.conj().T) / pairs
    assert by_event[4, 0] == pytest.approx(by_event[4, 1], abs=1e-4)
    assert (by_event[:4].argmax(1) == 0).all() and (by_event[5:].argmax(1) == 1).all()
    # Unwarped midpoints get frame 6 wrong, so there is something to repair.
    plain = np.real(
        np.asarray(rotation(np.arange(T), freqs.t))
        @ np.asarray(rotation(np.array([2.0, 12.0]), freqs.t)).conj().T
    )
    assert plain[6].argmax() == 0


def test_padding_changes_nothing():
    events = rows((0, 4), (5, 12), (13, 20))
    padded = rows((0, 4), (1, 0), (5, 12), (13, 20), (1, 0))
    np.testing.assert_allclose(queries_of(padded), queries_of(events), atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(keys_of(padded))[[0, 2, 3]],
        keys_of(events),
        atol=1e-6,
    )
    nothing = rows((1, 0), (1, 0))
    assert np.isfinite(queries_of(nothing)).all()
    assert np.isfinite(keys_of(nothing)).all()


def test_the_order_of_rows_does_not_matter():
    """Each event keeps its number in time, so a frame prefers the same caption."""
    events = rows((0, 4), (5, 12), (13, 20))
    order = [2, 0, 1]
    times = times_of(events, T)
    np.testing.assert_allclose(times_of(events[order], T), times, atol=1e-5)
    keys = np.asarray(keys_of(events))
    np.testing.assert_allclose(keys_of(events[order]), keys[order], atol=1e-6)
    assert np.abs(keys - keys[order]).max() > 0.1
    instant = np.asarray(keys_of(rows((2, 8), (2, 2), (2, 2))))
    np.testing.assert_allclose(instant, keys[[2, 0, 1]], atol=1e-6)


def test_batches_compile():
    events = np.stack([rows((0, 4), (5, 20)), rows((2, 8), (1, 0))])[None]
    q = jax.jit(lambda e: rerope_query_gains(e, T, FREQS))(events)
    assert q.shape == (1, 2, T, 32) and q.dtype == np.complex64
    np.testing.assert_allclose(q[0, 1], rerope_query_gains(events[0, 1], T, FREQS), atol=1e-6)
    np.testing.assert_allclose(q[..., len(FREQS.t) :], 1)
    assert rerope_key_gains(events, FREQS).shape == (1, 2, 2, 32)
