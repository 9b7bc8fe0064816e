"""Statistics of pairs: cases computed by hand, and that they are wrong as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import bootstrap_ci, holm, paired, permutation_p


def rows(values, clips=None, seed=0):
    clips = clips or [f"c{i}" for i in range(len(values))]
    return [
        {"seed": seed, "case": clip, "subject": i, "asked": [[0, 1]], "t_iou": value}
        for i, (value, clip) in enumerate(zip(values, clips, strict=True))
    ]


@pytest.mark.parametrize(
    ("gaps", "clips", "p"),
    [
        # Of 8 choices of signs, only +++ and --- give a sum of at least 6.
        ([1, 2, 3], "abc", 2 / 8),
        # The sizes of sums of 1, 2 and 4 are 7, 5, 3 and 1, twice each.
        ([1, 2, -4], "abc", 1),
        ([-1, 2, 4], "abc", 4 / 8),
        ([4, 1], "ab", 2 / 4),
        # One clip: its name may be exchanged, which changes nothing about the size.
        ([1, 1, 1], "aaa", 1),
        # Two subjects of one clip change sides together: sums 3 and 3 give 6 or 0.
        ([1, 2, 3], "aab", 2 / 4),
        ([0, 0, 0], "abc", 1),
        ([1, 2, 3, np.nan], "abcd", 2 / 8),
    ],
)
def test_all_choices_of_signs_are_counted(gaps, clips, p):
    assert permutation_p(gaps, list(clips)) == pytest.approx(p)
    assert permutation_p([-gap for gap in gaps], list(clips)) == pytest.approx(p)


def test_drawn_signs_agree_with_all_of_them():
    gaps = np.random.default_rng(1).normal(0.3, 1, 10)
    exact = permutation_p(gaps, range(10))
    drawn = [permutation_p(gaps, range(10), n=999, seed=seed) for seed in range(20)]
    assert 0.02 < exact < 0.98 and len(set(drawn)) > 5
    assert np.mean(drawn) == pytest.approx(exact, abs=0.01)


def test_the_smallest_p_is_that_of_the_draws():
    assert permutation_p(np.ones(40), range(40), n=999) == 1 / 1000
    assert np.isnan(permutation_p([np.nan], ["a"]))
    with pytest.raises(ValueError, match="2 differences but 1 groups"):
        permutation_p([1, 2], ["a"])


def nothing(rng, clips=12, each=2):
    """Differences of two systems that are alike: subjects share what is special about a clip."""
    names = np.repeat(np.arange(clips), each)
    return rng.normal(size=clips)[names] + 0.3 * rng.normal(size=len(names)), names


def test_p_is_uniform_where_nothing_differs_and_small_where_something_does():
    rng = np.random.default_rng(0)
    p = np.array([permutation_p(*nothing(rng), n=199) for _ in range(600)])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        # Three standard errors of a share.
        assert (p <= level).mean() == pytest.approx(
            level, abs=3 * (level * (1 - level) / 600) ** 0.5
        )
    ignored = [
        permutation_p(gaps, range(len(gaps)), n=199)
        for gaps, _ in (nothing(rng) for _ in range(300))
    ]
    assert (np.array(ignored) <= 0.05).mean() > 0.1, "subjects of a clip are not independent"
    shifted = [
        permutation_p(nothing(rng)[0] + 1.2, np.repeat(np.arange(12), 2), n=199) for _ in range(100)
    ]
    assert (np.array(shifted) <= 0.05).mean() > 0.8


def test_intervals_of_differences_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covers, narrow = [], []
    for _ in range(500):
        gaps, clips = nothing(rng, clips=40)
        low, high = bootstrap_ci(gaps + 0.5, clips, n=300)
        covers.append(low <= 0.5 <= high)
        low, high = bootstrap_ci(gaps + 0.5, np.arange(len(gaps)), n=300)
        narrow.append(low <= 0.5 <= high)
    assert 0.9 < np.mean(covers) < 0.975  # a percentile bootstrap of 40 clips is a little narrow
    assert np.mean(narrow) < 0.88, "without clips it is too narrow"


@pytest.mark.parametrize(("clips", "tests", "few"), [(5, 1, True), (6, 1, False), (6, 2, True)])
def test_so_few_clips_can_show_nothing(clips, tests, few):
    """The smallest p of 5 clips is 1/16; that of 6, 1/32, which is above 0.05 for two tests."""
    assert paired.too_few(clips, tests) == few
    smallest = permutation_p(np.ones(clips), range(clips))
    assert (holm(dict.fromkeys("ab"[:tests], smallest))["a"] >= paired.CLEAR) == few


def test_holm_by_hand():
    """Sorted: 4 * 0.01, 3 * 0.02, 2 * 0.03 and 1 * 0.5, none smaller than the one before."""
    found = holm({"a": 0.5, "b": 0.01, "c": 0.03, "d": 0.02, "e": float("nan")})
    assert {k: found[k] for k in "abcd"} == pytest.approx(
        {"a": 0.5, "b": 0.04, "c": 0.06, "d": 0.06}
    )
    assert np.isnan(found["e"]) and list(found) == list("abcde")
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_pairs_in_which_one_is_unknown_are_left_out():
    one, other = rows([1.0, None, 0.5]), rows([0.5, 0.1, None])
    found = paired.tested(one, other, "t_iou")
    assert (found["pairs"], found["one"], found["other"]) == (1, 1.0, 0.5)
    assert found["difference"] == {"mean": 0.5, "low": 0.5, "high": 0.5} and found["p"] == 1
    nothing_known = paired.tested(rows([None]), rows([1.0]), "t_iou")
    assert nothing_known["pairs"] == 0 and np.isnan(nothing_known["p"])


def test_differences_are_of_the_same_boards_in_the_same_order():
    one, other = rows([0.5, 0.75]), rows([0.25, 0.75])
    found = paired.difference(one, other, "t_iou")
    assert found["mean"] == 0.125 and (found["low"], found["high"]) == (0, 0.25)
    for wrong in (other[::-1], rows([0.25, 0.75], seed=1), other[:1]):
        with pytest.raises(ConfigError, match="do not compare"):
            paired.difference(one, wrong, "t_iou")
