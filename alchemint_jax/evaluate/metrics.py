"""When was the subject on screen, and when should it have been: metrics on intervals and frames
(NumPy).

`t_iou` and `t_l2` are the two temporal metrics of AlcheMinT (evaluation section): the overlap of
the asked-for interval and the shown one, and the error of its two ends as a fraction of the
duration. The paper does not print its formulas. `t_l2` is the root mean square over the two ends:
of the plain readings, the one that fits the figures the paper reports for its baselines, if those
show their subjects nearly throughout.

An interval is (start, end), half-open, in any one unit. Where an interval is expected, a list of
intervals is accepted too and its span is used, as in the paper; None, an empty list and end <=
start mean *never on screen*.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

Number = int | float | np.integer | np.floating
Span = tuple[float, float]
Intervals = Sequence[Number] | Sequence[Sequence[Number]] | np.ndarray | None
Values = Sequence[Number] | Float[np.ndarray, " n"]

RECALLS = (0.3, 0.5, 0.7, 0.9)


def span(intervals: Intervals) -> Span | None:
    """First start and last end of an interval or of a list of intervals; None when there is nothing
    in it.

    Raises ValueError on anything that is not a pair of finite numbers or a list of such pairs.
    """
    rows = np.asarray([] if intervals is None else intervals, np.float64)
    if rows.size == 0:
        return None
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"expected (start, end) or a list of them, finite numbers; got {intervals!r}"
        )
    rows = rows[rows[:, 1] > rows[:, 0]]
    return (float(rows[:, 0].min()), float(rows[:, 1].max())) if len(rows) else None


def t_iou(pred: Intervals, true: Intervals) -> float:
    """Intersection over union of two intervals.

    Several intervals count as their span, from first start to last end; `frame_iou` minds the gaps.
    Disjoint intervals score 0, and so does a subject that was never detected; a subject that is
    rightly absent scores 1.

    Args:
        pred: the interval, or a list of them, in which the subject was shown.
        true: the same of what was asked for, in the same unit.

    Returns:
        A number from 0 to 1, of which 1 is best.

    Raises:
        ValueError: what was given is not a pair of finite numbers or a list of such pairs.

    Examples:
        >>> al.evaluate.t_iou([(0.5, 2.0)], [(0.5, 2.5)])
        0.75

    Source:
        The t-IOU of AlcheMinT, arXiv 2512.10943, which prints no formula.
    """
    p, g = span(pred), span(true)
    if p is None or g is None:
        return float(p is g)
    shared = max(0.0, min(p[1], g[1]) - max(p[0], g[0]))
    return shared / ((p[1] - p[0]) + (g[1] - g[0]) - shared)


def t_l2(pred: Intervals, true: Intervals, duration: Number = 1.0) -> float:
    """Root mean square error of start and end, as a fraction of the duration.

    A subject that was never detected scores 1, and so does one that is shown and should be absent;
    a subject that is rightly absent scores 0.

    Args:
        pred: the interval, or a list of them, in which the subject was shown.
        true: the same of what was asked for, in the same unit.
        duration: of the video, in that unit.

    Returns:
        A fraction, of which 0 is best.

    Raises:
        ValueError: what was given is not a pair of finite numbers or a list of such pairs, or
            `duration` is not positive.

    Examples:
        >>> al.evaluate.t_l2((1.0, 3.0), (1.5, 2.5), duration=4.0)
        0.125

    Source:
        The t-L2 of AlcheMinT, arXiv 2512.10943, which prints no formula; see this module's notes.
    """
    if not duration > 0:
        raise ValueError(f"duration must be positive, got {duration}")
    p, g = span(pred), span(true)
    if p is None or g is None:
        return float(p is not g)
    return float(np.sqrt(((p[0] - g[0]) ** 2 + (p[1] - g[1]) ** 2) / 2) / duration)


def presence(
    frames: Sequence[tuple[int, int]], n_frames: int | np.integer
) -> Bool[np.ndarray, " f"]:
    """Whether a subject is on screen in each frame.

    Args:
        frames: half-open runs (first, end) of frames.
        n_frames: frames of the video.

    Returns:
        A mask of the frames, bool `[n_frames]`.

    Raises:
        ValueError: `n_frames` is negative.

    Examples:
        >>> al.evaluate.presence([(1, 3)], 4).tolist()
        [False, True, True, False]

    Source:
        This repository.
    """
    mask = np.zeros(n_frames, bool)
    for start, end in frames:
        mask[start:end] = True
    return mask


def frame_iou(pred: Bool[np.ndarray, " f"], true: Bool[np.ndarray, " f"]) -> float:
    """Intersection over union of per-frame presence: unlike `t_iou` it sees gaps and flicker.

    Args:
        pred: whether the subject is shown, for each frame, `[f]`.
        true: whether it should be, `[f]`.

    Returns:
        A number from 0 to 1, of which 1 is best; 1 if both are empty.

    Raises:
        ValueError: the masks are of different lengths.

    Examples:
        >>> shown, asked = (al.evaluate.presence(runs, 8) for runs in ([(0, 4)], [(2, 8)]))
        >>> al.evaluate.frame_iou(shown, asked)
        0.25

    Source:
        The Jaccard index of the frames.
    """
    union = int((pred | true).sum())
    return float((pred & true).sum() / union) if union else 1.0


def presence_rate(pred: Bool[np.ndarray, " f"], true: Bool[np.ndarray, " f"]) -> float:
    """Share of the frames that should show the subject in which it is shown.

    Args:
        pred: whether the subject is shown, for each frame, `[f]`.
        true: whether it should be, `[f]`.

    Returns:
        A share from 0 to 1; NaN if no frame should show it.

    Raises:
        IndexError: the masks are of different lengths.

    Examples:
        >>> al.evaluate.presence_rate(np.array([True, False, True]), np.array([True, True, False]))
        0.5

    Source:
        The recall of the frames.
    """
    return float(pred[true].mean()) if true.any() else float("nan")


def absence_rate(pred: Bool[np.ndarray, " f"], true: Bool[np.ndarray, " f"]) -> float:
    """Share of the frames that should not show the subject in which it is absent.

    It exposes a model whose subjects are always there, which `t_iou` alone may flatter.

    Args:
        pred: whether the subject is shown, for each frame, `[f]`.
        true: whether it should be, `[f]`.

    Returns:
        A share from 0 to 1; NaN if every frame should show it.

    Raises:
        IndexError: the masks are of different lengths.

    Examples:
        >>> al.evaluate.absence_rate(np.array([True, True, True]), np.array([True, True, False]))
        0.0

    Source:
        The specificity of the frames.
    """
    return float((~pred[~true]).mean()) if not true.all() else float("nan")


def detection_rate(preds: Iterable[Intervals]) -> float:
    """Share of subjects that were seen at all.

    Args:
        preds: for each subject, the interval or intervals in which it was shown, or None.

    Returns:
        A share from 0 to 1; NaN for no subjects.

    Raises:
        ValueError: an entry is not a pair of finite numbers or a list of such pairs.

    Examples:
        >>> al.evaluate.detection_rate([(0.0, 1.0), None])
        0.5

    Source:
        This repository.
    """
    seen = [span(pred) is not None for pred in preds]
    return float(np.mean(seen)) if seen else float("nan")


def recalls(ious: Values, thresholds: Sequence[float] = RECALLS) -> dict[float, float]:
    """Share of subjects whose t-IOU reaches each threshold, such as R@0.5.

    Args:
        ious: the t-IOU of each subject, `[n]`.
        thresholds: from 0 to 1.

    Returns:
        A share from 0 to 1 for each threshold; NaN for no subjects.

    Raises:
        ValueError: an entry is not a number.

    Examples:
        >>> al.evaluate.recalls([0.4, 0.8])
        {0.3: 1.0, 0.5: 0.5, 0.7: 0.5, 0.9: 0.0}

    Source:
        The recall at t-IOU thresholds of temporal grounding, as in Charades-STA, arXiv 1705.02101.
    """
    values = np.asarray(ious, np.float64)
    return {at: float((values >= at).mean()) if values.size else float("nan") for at in thresholds}


def constant(
    trues: Sequence[Intervals], shown: Sequence[Number], duration: Number = 1.0
) -> dict[str, float]:
    """Mean t-IOU and t-L2 of showing every subject at the same time, `shown` = (start, end)."""
    pairs = [(t_iou(shown, true), t_l2(shown, true, duration)) for true in trues]
    iou, error = np.mean(pairs, axis=0) if pairs else (np.nan, np.nan)
    return {"t_iou": float(iou), "t_l2": float(error)}


def always_present(trues: Sequence[Intervals], duration: Number = 1.0) -> dict[str, float]:
    """Mean t-IOU and t-L2 of a video that shows every subject all the time: a baseline.

    Showing all subjects in the middle half scores higher where intervals are short (`constant` in
    this module): a model must clear both.

    Args:
        trues: for each subject, the interval or intervals that were asked for.
        duration: of the video, in the same unit.

    Returns:
        The means by name, "t_iou" and "t_l2"; NaN for no subjects.

    Raises:
        ValueError: `duration` is not positive, or an entry is neither a pair of finite numbers
            nor a list of such pairs.

    Examples:
        >>> al.evaluate.always_present([(0.0, 2.0), (1.0, 4.0)], duration=4.0)["t_iou"]
        0.625

    Source:
        This repository.
    """
    return constant(trues, (0.0, float(duration)), duration)


def bootstrap_ci(
    values: Values,
    groups: Sequence | Shaped[np.ndarray, " n"],
    n: int = 2000,
    seed: int = 0,
    level: Number = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, which resamples whole groups rather than values.

    Subjects of one clip are not independent: resampling them one by one would make the interval too
    narrow. Where all values are alike (a rate of 1, or a single group), both ends are that value:
    resampling cannot tell how rare others are.

    Args:
        values: one for each subject, `[n]`; NaN values are left out.
        groups: which group (prompt, clip) each value belongs to, `[n]`.
        n: how often to resample.
        seed: of the resampling.
        level: share of the resampled means that the interval holds.

    Returns:
        Both ends of the interval; (NaN, NaN) if no value is left.

    Raises:
        ValueError: there are not as many groups as values.

    Examples:
        >>> low, high = al.evaluate.bootstrap_ci([0.2, 0.4, 0.6, 0.8], groups=[0, 0, 1, 1])
        >>> round(low, 2), round(high, 2)
        (0.3, 0.7)

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13; clusters are resampled.
    """
    data = np.asarray(values, np.float64)
    if len(data) != len(groups):
        raise ValueError(f"{len(data)} values but {len(groups)} groups")
    kept = np.isfinite(data)
    if not kept.any():
        return float("nan"), float("nan")
    _, member = np.unique(np.asarray(groups)[kept], return_inverse=True)
    sums, counts = np.bincount(member, data[kept]), np.bincount(member)
    drawn = _resamples(len(sums), n, seed).astype(np.float64)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@functools.lru_cache(maxsize=32)  # parts of a table come again, with the same numbers of clips
def _resamples(groups: int, n: int, seed: int) -> Integer[np.ndarray, "n groups"]:
    """How often each group is in each of `n` resamples, in as few bytes as hold it."""
    picks = np.random.default_rng(seed).integers(0, groups, (n, groups))
    places = picks + groups * np.arange(n)[:, None]
    counts = np.bincount(places.ravel(), minlength=n * groups)
    return counts.reshape(n, groups).astype(np.min_scalar_type(groups))


def correlation(a: Values, b: Values) -> float:
    """Pearson correlation of two lists; NaN for fewer than three pairs or a constant list."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b of two rankings; NaN where one of them has ties alone."""
    from scipy.stats import kendalltau

    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(kendalltau(a, b).statistic)
