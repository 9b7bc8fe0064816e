"""Which word of a caption means which subject, where a detector has one word for several of them.

To a detector of fixed classes "a man and a woman" are two persons. Who is who is then said by an
embedder that reads texts, where there is one; otherwise the order of the caption is taken for that
in which they appear, and those who appear together are counted from the left. That is a guess, and
`named_by` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from alchemint_jax.annotate.rows import Row

DETECTOR, TEXT, ORDER = "detector", "text", "order"
"""Who has named a subject: what the detector was asked for, an embedder, or a guess."""

Texts = Callable[[Sequence[str]], Float[np.ndarray, "k d"]]


def name_subjects(
    subjects: Sequence[Row],
    entities: Sequence[Row],
    vectors: Float[np.ndarray, "n d"],
    texts: Texts | None,
) -> list[Row]:
    """The subjects with `word`, `category`, `named_by`, and `reason`, None if they are kept.

    Args:
        subjects: what was found, with `asked`, the detector's word that the caption allows for it,
            or None; and `seen`, its rows of frame and box.
        entities: of the caption, in its order, with `ask`, the detector's word for each.
        vectors: of the subjects, by the embedder.
        texts: vectors of texts, by the same one; None if it reads none.
    """
    made: list[Row] = [{} for _ in subjects]
    for asked in dict.fromkeys(subject["asked"] for subject in subjects):
        members = [i for i, subject in enumerate(subjects) if subject["asked"] == asked]
        wanted = [entity for entity in entities if entity["ask"] == asked]
        some = [subjects[i] for i in members]
        if not wanted:
            reason = "was seen, but the caption has no word for it that is a subject"
            named = [{"word": one["detected_as"], "reason": reason} for one in some]
        elif len(wanted) == 1:
            named = [_named(wanted[0], DETECTOR) for _ in some]
        else:
            named = _several(some, wanted, vectors[members], texts)
        for i, one in zip(members, named, strict=True):
            made[i] = {"category": one["word"], "named_by": DETECTOR, "reason": None, **one}
    return [{**subject, **name} for subject, name in zip(subjects, made, strict=True)]


def _named(entity: Row, by: str) -> Row:
    return {"word": entity["word"], "category": entity["category"], "named_by": by}


def _several(
    some: Sequence[Row], wanted: Sequence[Row], vectors: np.ndarray, texts: Texts | None
) -> list[Row]:
    """Each of several words for one subject, and no subject with two."""
    words = [entity["word"] for entity in wanted]
    if texts is not None:
        from scipy.optimize import linear_sum_assignment  # slow, and seldom needed

        fit = vectors @ np.asarray(texts([f"a photo of a {word}" for word in words])).T
        pairs = dict(zip(*linear_sum_assignment(-fit), strict=True))
        by, reason = TEXT, "is one more than the caption has words for"
    elif len(some) == len(wanted):
        order = sorted(range(len(some)), key=lambda i: _first(some[i]))
        pairs, by, reason = {i: place for place, i in enumerate(order)}, ORDER, ""
    else:
        pairs, by = {}, ORDER
        reason = f"the detector cannot tell {' and '.join(words)} apart: {len(some)} were seen"
    lost = {"word": some[0]["asked"], "reason": reason}
    return [_named(wanted[pairs[i]], by) if i in pairs else lost for i in range(len(some))]


def _first(subject: Row) -> tuple[int, float]:
    """When somebody is first seen, and how far to the right."""
    frame, left, *_ = min(subject["seen"])
    return int(frame), float(left)
