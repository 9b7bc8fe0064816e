"""The contract of what streams lets nothing pass that does not."""

from __future__ import annotations

import numpy as np
import pytest
from streaming import check_streams

X = np.random.default_rng(0).standard_normal((2, 7, 3))


def _pad(x, before, after):
    return np.pad(x, ((0, 0), (before, after), (0, 0)))


def _join(x, state):
    return _pad(x, 1, 0) if state is None else np.concatenate([state, x], axis=1)


def sums(x, state):
    """Every frame plus the one before it."""
    window = _join(x, state)
    return window[:, 1:] + window[:, :-1], window[:, x.shape[1] :]


def looks_ahead(x, state):
    """The commonest mistake of all: padding on the other side, or on both."""
    window = _pad(x, 0, 1)
    return window[:, 1:] + window[:, :-1], state


def forgets(x, state):
    return sums(x, None)


def knows_the_chunk(x, state):
    return x - x.sum(axis=1, keepdims=True), state


def keeps_too_little(x, state):
    """Halves the frames; of an odd chunk, the last frame is lost."""
    halves = x.shape[1] // 2
    return x[:, 0 : 2 * halves : 2] + x[:, 1 : 2 * halves : 2], state


def says_nothing(x, state):
    return 0 * x, state


def keeps_too_much(x, state):
    y, last = sums(x, None if state is None else state[0])
    return y, (last, last)


def test_what_streams_passes():
    check_streams(sums, X)
    check_streams(lambda x, state: (x**2, state), X)


@pytest.mark.parametrize("wrong", [looks_ahead, forgets, knows_the_chunk, keeps_too_little])
def test_what_does_not_stream_fails(wrong):
    with pytest.raises(AssertionError, match="cut at"):
        check_streams(wrong, X)


@pytest.mark.parametrize("empty", [says_nothing, keeps_too_much])
def test_what_there_is_nothing_to_compare_of_fails(empty):
    with pytest.raises(AssertionError, match="vacuous"):
        check_streams(empty, X)
