"""Consistency and flicker in VBench's definitions, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alchemint_jax.evaluate.quality import consistency, steady_runs, temporal_flickering
from alchemint_jax.scene.spans import Spans

ANGLES = np.deg2rad([0, 60, 90, 200])


def vectors(angles=ANGLES):
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def test_consistency_is_what_it_is_by_hand():
    # To the frame before: cos 60, cos 30, and cos 110, which is negative and so 0.
    # To the first frame: cos 60, cos 90, and cos 200, which is negative and so 0.
    expected = ((0.5 + 0.5) / 2 + (math.sqrt(0.75) + 0) / 2 + 0) / 3
    assert consistency(vectors()) == pytest.approx(expected)


def test_runs_compare_only_what_is_in_them():
    # [0, 60): cos 60 twice. [90, 200): cos 110, negative. A run of one frame says nothing.
    assert consistency(vectors(), [(0, 2), (2, 4)]) == pytest.approx((0.5 + 0) / 2)
    assert consistency(vectors(), [(0, 2), (2, 3), (3, 4)]) == pytest.approx(0.5)
    assert consistency(vectors(), [(0, 4)]) == consistency(vectors())


def test_an_entrance_costs_nothing_between_entrances():
    looks = vectors(np.deg2rad([0, 0, 90, 90]))
    assert consistency(looks) < 0.7
    assert consistency(looks, steady_runs([Spans([(2, 4)])], 4)) == pytest.approx(1)


def test_consistency_does_not_depend_on_the_basis():
    draw = np.random.default_rng(0)
    some = draw.standard_normal((6, 5))
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    basis = np.linalg.qr(draw.standard_normal((5, 5)))[0]
    assert consistency(some @ basis) == pytest.approx(consistency(some))
    assert consistency(some[:, ::-1]) == pytest.approx(consistency(some))
    assert consistency(some[::-1]) != pytest.approx(consistency(some))  # the first frame counts


def test_where_there_is_nothing_to_compare():
    assert math.isnan(consistency(vectors()[:1])) and math.isnan(consistency(vectors()[:0]))
    assert math.isnan(consistency(vectors(), [(0, 1), (1, 2)]))
    still = np.full((3, 4, 4, 3), 7, np.uint8)
    assert math.isnan(temporal_flickering(still[:1])) and math.isnan(temporal_flickering(still[:0]))
    assert temporal_flickering(still) == 1


def test_runs_end_where_somebody_enters_or_leaves():
    spans = [Spans([(2, 6)]), Spans([(0, 4), (6, 9)])]
    assert steady_runs(spans, 9) == [(0, 2), (2, 4), (4, 6), (6, 9)]
    assert steady_runs([], 5) == [(0, 5)] and steady_runs([], 0) == []


def test_flicker_is_the_mean_change():
    shades = np.array([0, 255, 0], np.uint8)  # which would wrap around in bytes
    video = np.broadcast_to(shades[:, None, None, None], (3, 2, 5, 3))
    assert temporal_flickering(video) == 0
    half = video.copy()
    half[:, :, 1:] = 0
    assert temporal_flickering(half) == pytest.approx(1 - 1 / 5)
    assert temporal_flickering(half[:, ::-1, ::-1]) == temporal_flickering(half[::-1])
    assert temporal_flickering(half.repeat(3, 1)) == pytest.approx(temporal_flickering(half))
