from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.evaluate.matching import Candidate, Match, assign

THING = "thing"


def one(word, run, *likeness, score=0.9, left=None):
    names = word if isinstance(word, dict) else {word: 1.0}
    boxes = {} if left is None else {f: np.array([left, 0, left + 10, 9]) for f in range(*run)}
    return Candidate(names, score, [run], np.array(likeness), boxes)


@pytest.mark.parametrize(
    ("found", "asked", "expected"),
    [
        ([], ["dog"], [[]]),
        ([one("dog", (0, 9), 0.8)], ["dog"], [[0]]),
        ([one("dog", (0, 9), 0.1)], ["dog"], [[]]),  # too strange
        ([one("dog", (0, 9), 0.4)], ["dog"], [[0]]),  # another one, but surely a dog
        ([one("dog", (0, 9), 0.4, score=0.3)], ["dog"], [[]]),  # neither
        ([one("dog", (0, 9), 0.6, score=0.3)], ["dog"], [[0]]),  # surely this one
        ([one("cat", (0, 9), 0.8)], ["dog"], [[0]]),  # another word of the kind
        ([one("cup", (0, 9), 0.9)], ["dog"], [[]]),  # another kind
        ([one("cup", (0, 9), 0.9)], ["book"], [[]]),  # objects are too many to be one kind
        ([one({"cat": 0.6, "dog": 0.4}, (0, 9), 0.3)], ["dog"], [[0]]),
        # What is seldom named so is it only where it surely looks like it.
        ([one({"cup": 0.8, "car": 0.2}, (0, 9), 0.8)], ["car"], [[0]]),
        ([one({"cup": 0.8, "car": 0.2}, (0, 9), 0.5)], ["car"], [[]]),
        ([one({"cup": 0.95, "car": 0.05}, (0, 9), 0.8)], ["car"], [[]]),
        # It left and came back: the same subject, if it is nearly as alike.
        ([one("dog", (0, 4), 0.8), one("dog", (6, 9), 0.7)], ["dog"], [[0, 1]]),
        ([one("dog", (0, 4), 0.8), one("dog", (6, 9), 0.4)], ["dog"], [[0]]),
        ([one("dog", (0, 6), 0.8), one("dog", (5, 9), 0.7)], ["dog"], [[0]]),  # both at once
        # A part of it that is seen beside the whole is no other one; what is elsewhere is.
        ([one("dog", (0, 6), 0.8, left=0), one("dog", (5, 9), 0.7, left=3)], ["dog"], [[0, 1]]),
        ([one("dog", (0, 6), 0.8, left=0), one("dog", (5, 9), 0.7, left=7)], ["dog"], [[0]]),
        # Two of one word, told apart by identity ...
        ([one("dog", (0, 9), 0.3, 0.8), one("dog", (0, 9), 0.7, 0.4)], ["dog", "dog"], [[1], [0]]),
        # ... also if one of them is a little more like both.
        ([one("dog", (0, 9), 0.8, 0.6), one("dog", (0, 9), 0.75, 0.7)], ["dog", "dog"], [[0], [1]]),
        # Only the first one is there, twice: the second one gets nothing of it.
        (
            [one("dog", (0, 4), 0.8, 0.4), one("dog", (6, 9), 0.7, 0.4)],
            ["dog", "dog"],
            [[0, 1], []],
        ),
        # A doubtful part of the first one, which looks like the second one, is not that.
        (
            [
                one("dog", (0, 9), 0.8, 0.4, left=0),
                one("dog", (20, 30), 0.4, 0.7, left=0),
                one("dog", (5, 9), 0.5, 0.6, left=3, score=0.3),
            ],
            ["dog", "dog"],
            [[0], [1]],
        ),
        # Without a word, identity alone decides, and must be sure.
        ([one(THING, (0, 9), 0.6), one("dog", (0, 9), 0.9)], [None], [[0]]),
        ([one(THING, (0, 9), 0.4)], [None], [[]]),
        ([one(THING, (0, 9), 0.9)], ["dog"], [[]]),
        # Without a picture the word alone decides, where the detector is sure.
        ([one("dog", (0, 9), np.nan)], ["dog"], [[0]]),
        ([one("dog", (0, 9), np.nan, score=0.3)], ["dog"], [[]]),
        ([one("cat", (0, 9), np.nan)], ["dog"], [[]]),
        ([one("dog", (0, 4), np.nan), one("dog", (6, 9), np.nan, score=0.6)], ["dog"], [[0, 1]]),
        ([one(THING, (0, 9), np.nan)], [None], [[]]),
        # Who has a picture is told from who has none.
        (
            [one("dog", (0, 9), 0.8, np.nan), one("dog", (0, 9), 0.1, np.nan, left=50)],
            ["dog", "dog"],
            [[0], [1]],
        ),
    ],
)
def test_who_is_who(found, asked, expected):
    assert assign(found, asked, THING, Match()) == expected


def test_the_order_of_what_was_seen_does_not_matter():
    rng = np.random.default_rng(0)
    met = 0
    for _ in range(50):
        found = [one("dog", (s, s + 5), *rng.random(2)) for s in rng.integers(0, 20, 4).tolist()]
        order = rng.permutation(4)
        chosen = assign(found, ["dog", "dog"], THING, Match())
        mixed = assign([found[k] for k in order], ["dog", "dog"], THING, Match())
        assert [{*some} for some in chosen] == [{int(order[k]) for k in some} for some in mixed]
        assert not {*chosen[0]} & {*chosen[1]}
        met += any(len(some) > 1 for some in chosen)
    assert met > 3
