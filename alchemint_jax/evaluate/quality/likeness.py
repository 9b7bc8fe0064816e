"""Whether subjects look like their references, and whether backgrounds do not: Subj-S of
MSRVTT-Personalization, S2V consistency and decoupling of Kaleido, and Text-S.

All of them are means of inner products of vectors of length 1. Rows are frames; NaN says that a
subject is not seen in a frame, or that a picture has no background.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Alike = Float[np.ndarray, "n r"]


def subject_similarity(alike: Alike) -> float:
    """Subj-S of one subject: its likeness to its reference in the frames that should show it.

    The paper divides by all frames. Frames that should not show the subject are left out here, for
    it would be wrong to see it there; a frame in which it is missing counts as 0.

    Args:
        alike: of each of n frames and r pictures, -1 to 1, `[n, r]`; NaN where the subject is not
            seen. The mean over pictures counts; the paper has one.

    Returns:
        The mean over frames, of which 1 is best; NaN for no frames or no pictures.

    Raises:
        ValueError: `alike` is not a table.

    Examples:
        >>> al.evaluate.quality.subject_similarity(np.array([[0.8], [np.nan]]))
        0.4

    Source:
        Video Alchemist, arXiv 2501.06187 (MSRVTT-Personalization), which takes the vectors of DINO.
    """
    return float(np.nan_to_num(alike).mean()) if alike.size else float("nan")


def s2v_consistency(alike: Alike) -> float:
    """S2V consistency of one subject: how much it looks like the nearest of its references.

    The paper does not say what frames count in which the subject is not found. They are left out
    here, so this is about looks alone, and `subject_similarity` about looks and presence. A subject
    that is never found scores 0.

    Args:
        alike: of each of n frames and r pictures, -1 to 1, `[n, r]`; NaN where the subject is not
            seen.

    Returns:
        The mean over frames, of which 1 is best; NaN for no frames or no pictures.

    Raises:
        ValueError: `alike` is not a table.

    Examples:
        >>> seen, missing = [0.5, 0.9], [np.nan, np.nan]
        >>> al.evaluate.quality.s2v_consistency(np.array([seen, missing]))
        0.9

    Source:
        Kaleido, arXiv 2510.18573, section 5.2, which takes the vectors of CLIP.
    """
    if not alike.size:
        return float("nan")
    found = alike[~np.isnan(alike).any(1)]
    return float(found.max(1).mean()) if len(found) else 0.0


def s2v_decoupling(alike: Alike) -> float:
    """S2V decoupling: how little the backgrounds of the frames look like those of the references.

    The paper does not say what references without a background count, such as those on white; they
    are left out here.

    Args:
        alike: the likeness of backgrounds, of each of n frames and r pictures, -1 to 1, `[n, r]`;
            NaN where one of the two has none.

    Returns:
        1 less the mean, of which more is better; NaN if nothing is known.

    Raises:
        ValueError: `alike` is not a table.

    Examples:
        >>> al.evaluate.quality.s2v_decoupling(np.array([[0.75, np.nan], [0.25, np.nan]]))
        0.5

    Source:
        Kaleido, arXiv 2510.18573, section 5.2, which takes the vectors of CLIP.
    """
    known = alike[~np.isnan(alike)]
    return float(1 - known.mean()) if known.size else float("nan")


def text_similarity(
    vectors: Float[np.ndarray, "n d"],
    text: Float[np.ndarray, " d"],
    inside: Bool[np.ndarray, " n"] | None = None,
) -> float:
    """Text-S: how well a text describes the frames, or those of a part of the video.

    Args:
        vectors: of each frame, of length 1, `[n, d]`.
        text: the vector of the text, of length 1, `[d]`.
        inside: which of the frames count, `[n]`; None is all of them.

    Returns:
        The mean over frames, -1 to 1, of which more is better; NaN if none counts.

    Raises:
        ValueError: vectors and text are of different spaces.

    Examples:
        >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> al.evaluate.quality.text_similarity(vectors, np.array([1.0, 0.0]))
        0.5

    Source:
        Video Alchemist, arXiv 2501.06187 (MSRVTT-Personalization), which takes the vectors of CLIP.
    """
    values = (vectors if inside is None else vectors[inside]) @ text
    return float(values.mean()) if values.size else float("nan")
