"""Who was seen: figures of how alike a subject is to its reference, and to those of others (NumPy).

They take the `likeness` of a `Sighting`: in each frame and for each reference a number of at most
1, NaN where the subject was not seen, and for subjects without a reference.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Likeness = Float[np.ndarray, "f r"]
Mask = Bool[np.ndarray, " f"]


def identity_inside(likeness: Likeness, subject: int, asked: Mask) -> float:
    """Mean likeness to its own reference in the frames that should show the subject.

    A frame without it counts 0, so that nothing is gained by showing it once, at its best.

    Args:
        likeness: of what was seen of the subject to each reference, `[f r]`; NaN where nothing was.
        subject: which of the references is its own.
        asked: whether it should be on screen, for each frame, `[f]`.

    Returns:
        A mean of at most 1, which is best; NaN if no frame should show it.

    Raises:
        IndexError: there is no such reference, or the masks are of different lengths.

    Examples:
        >>> seen = np.array([[0.8], [np.nan], [0.9]])
        >>> al.evaluate.identity_inside(seen, 0, np.array([True, True, False]))
        0.4

    Source:
        CLIPref of AlcheMinT, arXiv 2512.10943, over the frames asked for; as in the Subj-S of
        Video Alchemist, arXiv 2501.06187, what is missing counts 0.
    """
    own = np.nan_to_num(likeness[:, subject], nan=0.0)
    return float(own[asked].mean()) if asked.any() else float("nan")


def leak(likeness: Likeness, subject: int, asked: Mask) -> float:
    """Mean likeness to its own reference in the frames that should not show the subject.

    Args:
        likeness: of what was seen of the subject to each reference, `[f r]`; NaN where nothing was.
        subject: which of the references is its own.
        asked: whether it should be on screen, for each frame, `[f]`.

    Returns:
        A mean of at most 1; 0 is best. NaN if every frame should show it.

    Raises:
        IndexError: there is no such reference, or the masks are of different lengths.

    Examples:
        >>> seen = np.array([[0.8], [np.nan], [0.9], [0.7]])
        >>> al.evaluate.leak(seen, 0, np.array([True, False, False, True]))
        0.45

    Source:
        This repository.
    """
    return identity_inside(likeness, subject, ~asked)


def confusion(likeness: Likeness, subject: int) -> float:
    """Share of the frames with a subject in which it is more like the reference of another one.

    Args:
        likeness: of what was seen of the subject to each reference, `[f r]`; NaN where nothing was.
        subject: which of the references is its own.

    Returns:
        A share from 0 to 1; 0 is best. NaN if it was not seen, or there is no other reference.

    Raises:
        IndexError: there is no such reference.

    Examples:
        >>> seen = np.array([[0.8, 0.3], [np.nan, np.nan], [0.4, 0.6]])
        >>> al.evaluate.confusion(seen, 0)
        0.5

    Source:
        This repository.
    """
    seen = likeness[np.isfinite(likeness[:, subject])]
    if not len(seen) or seen.shape[1] < 2:
        return float("nan")
    return float((np.nanmax(seen, axis=1) > seen[:, subject]).mean())
