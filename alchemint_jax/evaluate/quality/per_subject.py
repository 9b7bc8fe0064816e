"""The figures of one video that are about its subjects: when they are there, and how they look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from alchemint_jax.evaluate.quality import cutting, likeness, timing
from alchemint_jax.evaluate.quality.cutting import Reference
from alchemint_jax.evaluate.quality.fidelity import Video
from alchemint_jax.evaluate.quality.judges import Judges
from alchemint_jax.evaluate.quality.seen import Seen, look
from alchemint_jax.perceive import Embedder
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans

Shown = UInt8[np.ndarray, "n h w 3"]
Asked = Bool[np.ndarray, "k f"]
Images = Sequence[np.ndarray | None]


def mean_of_known(values: Sequence[float]) -> float:
    """The mean of what is known; NaN if nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def looked_at(spans: Sequence[Spans], n_frames: int) -> np.ndarray:
    """Where subjects are looked for: in evenly spaced frames, and in the middle of each span."""
    middles = [(start + end) // 2 for own in spans for start, end in own]
    return np.unique(np.concatenate([timing.sampled_frames(n_frames), np.array(middles, int)]))


def of_subjects(
    video: Video,
    scene: Scene,
    judges: Judges,
    spans: Sequence[Spans],
    asked: Asked,
    seen: Seen | None,
) -> dict[str, float]:
    """What is said of subjects; see `figures` for the arguments.

    Args:
        video: the frames.
        scene: who is in it.
        judges: who looks; without `seen`, a detector is among them.
        spans: the frames in which each subject should be on screen.
        asked: the same, frame by frame.
        seen: where they are, if somebody has looked.
    """
    references = [cutting.references(one, judges.segmenter) for one in scene.subjects]
    if seen is None:
        assert judges.detector is not None
        frames, words = looked_at(spans, len(video)), [one.word for one in scene.subjects]
        seen = look(video, words, references, frames, judges.detector, judges.embedder)
    found = _timing(seen, asked)
    if judges.embedder is None:
        return found
    shown = video[seen.frames]
    masks = cutting.masks_of(shown, seen.boxes, judges.segmenter)
    found |= _looks(judges.embedder, shown, references, masks, asked, seen)
    if masks is not None:
        found["s2v_decoupling"] = _decoupling(judges.embedder, shown, references, masks)
    return found


def _timing(seen: Seen, asked: Asked) -> dict[str, float]:
    """The accuracies of one object and of two, over the frames that the paper's code takes."""
    columns = np.flatnonzero(np.isin(seen.frames, timing.sampled_frames(asked.shape[1])))
    right = float("nan")
    if seen.known.size and seen.known.all():
        right = timing.frames_right(seen.present[columns], asked[:, seen.frames[columns]].T)
    names = ("one_object", "two_objects")
    return {n: right if len(asked) == k else float("nan") for k, n in enumerate(names, 1)}


def _looks(
    embedder: Embedder,
    shown: Shown,
    references: Sequence[Sequence[Reference]],
    masks: Sequence[np.ndarray] | None,
    asked: Asked,
    seen: Seen,
) -> dict[str, float]:
    """How much the subjects look like their references where they should be on screen."""
    similar, consistent = [], []
    for number in np.flatnonzero(seen.known).tolist():
        boxes, mask = seen.boxes[number], None if masks is None else masks[number]
        images: list[np.ndarray | None] = [
            cutting.subject_in(shown[i], boxes[i], None if mask is None else mask[i])
            for i in np.flatnonzero(asked[number, seen.frames])
        ]
        alike = _alike(embedder, images, [one.subject for one in references[number]])
        similar.append(likeness.subject_similarity(alike))
        consistent.append(likeness.s2v_consistency(alike))
    return {
        "subject_similarity": mean_of_known(similar),
        "s2v_consistency": mean_of_known(consistent),
    }


def _decoupling(
    embedder: Embedder,
    shown: Shown,
    references: Sequence[Sequence[Reference]],
    masks: Sequence[np.ndarray],
) -> float:
    """How little the backgrounds of frames with subjects look like those of the references."""
    hidden: list[np.ndarray | None] = []
    for frame, *some in zip(shown, *masks, strict=True):
        mask = np.any(some, axis=0)
        hidden.append(cutting.hide(frame, mask) if mask.any() else None)
    grounds = [one.ground for some in references for one in some]
    return likeness.s2v_decoupling(_alike(embedder, hidden, grounds))


def _alike(embedder: Embedder, images: Images, pictures: Images) -> Float[np.ndarray, "n r"]:
    """The likeness of every image to every picture; NaN where one of them is not there."""
    table = np.full((len(images), len(pictures)), np.nan)
    rows = {i: image for i, image in enumerate(images) if image is not None}
    columns = {i: picture for i, picture in enumerate(pictures) if picture is not None}
    if rows and columns:
        one, other = (embedder.embed([*some.values()]) for some in (rows, columns))
        table[np.ix_([*rows], [*columns])] = one @ other.T
    return table
