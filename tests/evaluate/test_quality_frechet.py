"""Frechet distances of sets: in closed form, whatever the order, and in constant memory."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.quality import Moments, frechet_distance, frechet_video_distance
from alchemint_jax.evaluate.quality.frechet import set_moments

DRAW = np.random.default_rng(0)
ONE = DRAW.standard_normal((40, 5)) @ DRAW.standard_normal((5, 5))
OTHER = DRAW.standard_normal((30, 5)) + np.arange(5)


def distance(one, other):
    return frechet_distance(Moments.of(one), Moments.of(other))


def test_moments_are_those_of_numpy_however_they_were_added():
    parts = [Moments.of(part) for part in np.split(ONE, [1, 2, 15])]
    added = parts[0]
    for part in parts[1:]:
        added = added.add(part)
    backwards = parts[3].add(parts[2].add(parts[1]).add(parts[0]))
    for found in (added, backwards, Moments.of(ONE), Moments.of(ONE[:0]).add(added)):
        assert found.count == 40
        np.testing.assert_allclose(found.mean, ONE.mean(0), atol=1e-12)
        np.testing.assert_allclose(found.covariance, np.cov(ONE.T), atol=1e-12)


def test_far_from_zero_sums_keep_their_digits():
    found = Moments.of(ONE[:1] + 1e6)
    for row in ONE[1:]:
        found = found.add(Moments.of(row[None] + 1e6))
    np.testing.assert_allclose(found.covariance, np.cov(ONE.T), rtol=1e-6)


def test_in_one_dimension_it_is_of_means_and_deviations():
    one, other = ONE[:, :1], OTHER[:, :1]
    spread = one.std(ddof=1) - other.std(ddof=1)
    expected = (one.mean() - other.mean()) ** 2 + spread**2
    assert distance(one, other) == pytest.approx(expected)


def test_it_is_that_of_the_matrix_square_root():
    from scipy import linalg

    a, b = np.cov(ONE.T), np.cov(OTHER.T)
    apart = np.square(ONE.mean(0) - OTHER.mean(0)).sum()
    expected = apart + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert distance(ONE, OTHER) == pytest.approx(expected)


def test_what_it_does_not_depend_on():
    basis = np.linalg.qr(DRAW.standard_normal((5, 5)))[0]
    expected = distance(ONE, OTHER)
    assert expected > 1
    assert distance(OTHER, ONE) == pytest.approx(expected)
    assert distance(ONE @ basis, OTHER @ basis) == pytest.approx(expected)
    assert distance(ONE + 3, OTHER + 3) == pytest.approx(expected)
    assert distance(2 * ONE, 2 * OTHER) == pytest.approx(4 * expected)
    assert distance(ONE, ONE[::-1]) == pytest.approx(0, abs=1e-9)
    assert distance(ONE, ONE + 2) == pytest.approx(5 * 2**2)  # five dimensions


def test_fewer_videos_than_features_are_enough_to_say_that_sets_are_equal():
    assert distance(ONE[:3], ONE[:3]) == pytest.approx(0, abs=1e-9)
    assert distance(ONE[:3], ONE[3:6]) > 1  # and too few to say that they are of one kind


def test_sets_are_read_one_video_at_a_time():
    held = []

    def videos(first):
        for shade in range(first, first + 5):
            held.append(shade)
            yield np.full((2, 4, 4, 3), shade, np.uint8)
            assert held == list(range(first, shade + 1))  # nobody has asked for the next one
        held.clear()

    def mean(video):
        return video.mean((0, 1, 2))

    assert frechet_video_distance(videos(0), videos(10), mean) == pytest.approx(3 * 10**2)
    assert frechet_video_distance(videos(0), videos(0), mean) == pytest.approx(0, abs=1e-9)
    moments = set_moments(videos(0), mean)
    assert moments.scatter.shape == (3, 3) and moments.count == 5


def test_too_few_and_unlike_vectors_are_refused():
    with pytest.raises(DataError, match="two videos at least"):
        distance(ONE, OTHER[:1])
    with pytest.raises(DataError, match="two videos at least"):
        frechet_video_distance([], [], lambda video: video)
    with pytest.raises(DataError, match="differ in length"):
        distance(ONE, OTHER[:, :4])
