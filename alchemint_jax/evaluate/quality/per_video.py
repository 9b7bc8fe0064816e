"""All figures of one video that can be had with the judges at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.metrics import presence
from alchemint_jax.evaluate.quality import fidelity, likeness, motion, steadiness
from alchemint_jax.evaluate.quality.fidelity import Truth, Video
from alchemint_jax.evaluate.quality.judges import Judges
from alchemint_jax.evaluate.quality.per_subject import mean_of_known, of_subjects
from alchemint_jax.evaluate.quality.seen import Seen
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans


def figures(
    video: Video,
    scene: Scene,
    judges: Judges,
    spans: Sequence[Spans] | None = None,
    seen: Seen | None = None,
    truth: Truth | None = None,
) -> Mapping[str, float]:
    """All figures of a video that these judges can give.

    Figures "inside" are of the frames that should show a subject, so that one that is rightly
    absent costs nothing; those of consistency compare frames between which nobody should enter or
    leave. Subjects are looked at in 21 frames, and in the middle of each of their spans.

    Args:
        video: uint8 `[f, h, w, 3]`.
        scene: what was asked for.
        judges: who looks. Without an optical flow there are no figures of motion, without a CLIP
            none of texts, and so on.
        spans: the frames in which each subject should be on screen; None takes the scene's.
        seen: where the subjects are; None has the detector look for them.
        truth: the video that it should be, if there is one: then PSNR, SSIM and LPIPS are given.

    Returns:
        Figures by name, of which `TITLES` has the titles; more is better but for those of
        `LESS_IS_BETTER`. NaN says that one means nothing here: `one_object` is about scenes of one
        subject, `two_objects` about those of two, `movement` about those of one event.

    Raises:
        DataError: the video is not as long as the scene, or `truth` is of another size or length.
        StoryboardError: a picture of a subject cannot be read.

    Examples:
        >>> from alchemint_jax.scene import Clock, Scene
        >>> scene = Scene("grey", "nothing happens", Clock(fps=8, frames=9, stride=4))
        >>> still = np.full((9, 32, 32, 3), 128, np.uint8)
        >>> al.evaluate.quality.figures(still, scene, al.evaluate.quality.Judges())
        {'temporal_flickering': 1.0}

    Source:
        This repository; each figure names its own.
    """
    if len(video) != scene.clock.frames:
        raise DataError(
            f"case {scene.id}: the video has {len(video)} frames, but {scene.clock.frames} were "
            "asked for"
        )
    spans = [subject.spans for subject in scene.subjects] if spans is None else spans
    rows = [presence(own, len(video)) for own in spans]
    asked = np.stack(rows) if rows else np.zeros((0, len(video)), bool)
    found: dict[str, float] = {}
    if truth is not None:
        found |= _fidelity(video, truth, judges)
    found["temporal_flickering"] = steadiness.temporal_flickering(video)
    if judges.flow is not None:
        found |= _motion(video, scene, judges.flow)
    found |= _frames(video, scene, judges, steadiness.steady_runs(spans, len(video)), asked)
    if judges.detector is not None or seen is not None:
        found |= of_subjects(video, scene, judges, spans, asked, seen)
    return found


def _fidelity(video: Video, truth: Truth, judges: Judges) -> dict[str, float]:
    found = {"psnr": fidelity.psnr(video, truth), "ssim": fidelity.ssim(video, truth)}
    return found if judges.lpips is None else {**found, "lpips": judges.lpips(video, truth)}


def _motion(video: Video, scene: Scene, flow: motion.Flow) -> dict[str, float]:
    fps = float(scene.clock.fps)
    right = float("nan")
    if len(scene.events) == 1 and (spans := scene.events[0].spans):
        middle = (spans[0][0] + spans[-1][1]) / 2
        right = motion.movement_accuracy(video, fps, int(scene.clock.second(middle)), flow)
    return {"dynamic_degree": motion.dynamic_degree(video, fps, flow), "movement": right}


def _frames(
    video: Video,
    scene: Scene,
    judges: Judges,
    runs: Sequence[tuple[int, int]],
    asked: Bool[np.ndarray, "k f"],
) -> dict[str, float]:
    """What is said of whole frames."""
    found: dict[str, float] = {}
    looks = None if judges.embedder is None else judges.embedder.embed([*video])
    if looks is not None:
        found["subject_consistency"] = steadiness.consistency(looks)
        found["subject_consistency_inside"] = steadiness.consistency(looks, runs)
    if judges.clip is None:
        return found
    if looks is None or judges.clip is not judges.embedder:
        looks = judges.clip.embed([*video])
    caption, *texts = judges.clip.embed_texts([scene.caption, *(e.text for e in scene.events)])
    of_events = [
        likeness.text_similarity(looks, text, presence(event.spans, len(video)))
        for text, event in zip(texts, scene.events, strict=True)
    ]
    return found | {
        "background_consistency": steadiness.consistency(looks),
        "background_consistency_inside": steadiness.consistency(looks, runs),
        "text_similarity": likeness.text_similarity(looks, caption),
        "text_similarity_inside": likeness.text_similarity(looks, caption, np.any(asked, axis=0)),
        "event_similarity": mean_of_known(of_events),
    }
