"""Two systems that were asked for the same boards, compared subject by subject (NumPy).

What differs between boards is in both, so a difference of pairs is known much better than each of
the two means. Subjects of one clip share its noise: whole clips are resampled, and whole clips
change sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.metrics import Values
from alchemint_jax.evaluate.scores import estimate

CLEAR = 0.05
"""Of an adjusted p-value: below it, a difference is called clear."""


def permutation_p(
    differences: Values,
    groups: Sequence | Shaped[np.ndarray, " n"],
    n: int = 9999,
    seed: int = 0,
) -> float:
    """How often chance alone would give a mean difference at least this large, in either direction.

    If two systems are alike, the names of the two may be exchanged in any clip, which changes the
    sign of all its differences. All 2^clips choices of signs are tried where there are no more than
    `n + 1`, and `n` random ones elsewhere.

    Args:
        differences: of one system less the other, for each subject, `[n]`; NaN values are left out.
        groups: the clip that each belongs to, `[n]`.
        n: how many choices of signs are drawn, where not all are tried.
        seed: of these.

    Returns:
        The two-sided p-value; NaN if no difference is left. It is never 0: with k clips it is at
        least 2^(1 - k), or 1 / (n + 1).

    Raises:
        ValueError: there are not as many groups as differences.

    Examples:
        >>> al.evaluate.permutation_p([0.1, 0.2, 0.3], groups=["a", "b", "c"])
        0.25

    Source:
        Fisher, The Design of Experiments, chapter 3; of random choices, Phipson and Smyth,
        Statistical Applications in Genetics and Molecular Biology 9, 2010.
    """
    data = np.asarray(differences, np.float64)
    if len(data) != len(groups):
        raise ValueError(f"{len(data)} differences but {len(groups)} groups")
    kept = np.isfinite(data)
    if not kept.any():
        return float("nan")
    _, member = np.unique(np.asarray(groups)[kept], return_inverse=True)
    sums = np.bincount(member, data[kept])
    # Sums of the same numbers in another order may differ in their last digit.
    bar = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if 2 ** len(sums) <= n + 1:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= bar).mean())
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (n, len(sums)), np.int8) * 2.0 - 1
    return float((1 + (np.abs(signs @ sums) >= bar).sum()) / (n + 1))


def too_few(clips: int, tests: int) -> bool:
    """Whether so few clips cannot make one of so many tests clear, however large a difference is.

    Their smallest p-value is 2^(1 - clips), and Holm's method multiplies it by the number of tests.
    """
    return tests * 2.0 ** (1 - clips) >= CLEAR


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values of several figures, adjusted for how many are looked at.

    Of those below 0.05 afterwards, the chance that any is there by chance alone is at most 5 %.

    Args:
        p_values: by name; NaN stays NaN and does not count.

    Returns:
        The adjusted values, by the same names, each at least as large as before.

    Raises:
        TypeError: a value is not a number.

    Examples:
        >>> al.evaluate.holm({"t_iou": 0.01, "identity": 0.04, "detected": 0.03})
        {'t_iou': 0.03, 'identity': 0.06, 'detected': 0.06}

    Source:
        Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    known = sorted((p, name) for name, p in p_values.items() if np.isfinite(p))
    adjusted, so_far = dict(p_values), 0.0
    for rank, (p, name) in enumerate(known):
        so_far = max(so_far, min(1.0, (len(known) - rank) * p))
        adjusted[name] = so_far
    return adjusted


def difference(
    one: list[dict[str, Any]], other: list[dict[str, Any]], figure: str
) -> dict[str, float]:
    """Mean of `one` less `other`, subject by subject of the same boards and seeds.

    Rows are those of `score`, or of a report, each with the `seed` of its noise. The 95 % interval
    resamples boards. Raises ConfigError if the two did not see the same subjects.
    """
    if boards(one) != boards(other):
        raise ConfigError("two arms have rows of different boards or seeds; they do not compare")
    return estimate(_less(one, other, figure), [row["case"] for row in one])


def tested(one: list[dict[str, Any]], other: list[dict[str, Any]], figure: str) -> dict[str, Any]:
    """Means of both, `one` less `other` with its 95 % interval, and the `p` of a permutation test.

    Rows are in pairs. All of it is of those pairs alone in which the figure is known of both, of
    which there are `pairs`.
    """
    gaps, clips = _less(one, other, figure), [row["case"] for row in one]
    known = np.isfinite(gaps)

    def mean(rows: list[dict[str, Any]]) -> float:
        values = np.array([row[figure] for row in rows], np.float64)[known]
        return float(values.mean()) if values.size else float("nan")

    return {
        "pairs": int(known.sum()),
        "one": mean(one),
        "other": mean(other),
        "difference": estimate(gaps, clips),
        "p": permutation_p(gaps, clips),
    }


def _less(one: list[dict[str, Any]], other: list[dict[str, Any]], figure: str) -> np.ndarray:
    # A report has None for a rate that nothing could be counted for; as a float it is NaN.
    a, b = (np.array([row[figure] for row in rows], np.float64) for rows in (one, other))
    return a - b


def boards(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What rows are about: they compare only if this is the same, in the same order."""
    return [(row["seed"], row["case"], row["subject"], row["asked"]) for row in rows]
