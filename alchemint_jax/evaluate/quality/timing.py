"""Whether the right subjects are there in each frame: TempoControl's accuracies of objects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

SIGNAL = 21
"""Frames that TempoControl looks at: as many as its model has latent frames."""


def sampled_frames(n_frames: int, count: int = SIGNAL) -> Int[np.ndarray, " n"]:
    """Evenly spaced frames, from the first to the last one; all of them if there are fewer.

    Args:
        n_frames: frames of the video.
        count: how many are wanted.

    Returns:
        Their numbers in order.

    Raises:
        ValueError: a number is negative.

    Examples:
        >>> al.evaluate.quality.sampled_frames(81, 5).tolist()
        [0, 20, 40, 60, 80]

    Source:
        TempoControl's code: positions between two frames become the earlier one.
    """
    return np.linspace(0, n_frames - 1, min(count, n_frames)).astype(int)


def frames_right(present: Bool[np.ndarray, "n k"], asked: Bool[np.ndarray, "n k"]) -> float:
    """Share of the frames in which all subjects are as asked: there, or not there.

    With one subject this is the one-object accuracy of TempoControl. With two of which one should
    always be there it is the two-object accuracy.

    Args:
        present: whether each of the k subjects is seen in each of the n frames, `[n, k]`.
        asked: whether it should be, `[n, k]`.

    Returns:
        A share from 0 to 1, of which 1 is best; NaN for no frames.

    Raises:
        ValueError: the tables differ in shape.

    Examples:
        >>> always, late = [True] * 4, [False, False, True, True]
        >>> seen = np.array([[True, True, True, False], [False, True, True, True]]).T
        >>> al.evaluate.quality.frames_right(seen, np.array([always, late]).T)
        0.5

    Source:
        The temporal accuracies of TempoControl, arXiv 2510.02226, and its code.
    """
    if present.shape != asked.shape:
        raise ValueError(f"{present.shape} frames and subjects, but {asked.shape} were asked for")
    return float((present == asked).all(1).mean()) if len(asked) else float("nan")
