"""Figures of whole videos as reports hold them: a row for each video, and titles by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

TITLES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "temporal_flickering": "temporal flickering",
    "dynamic_degree": "dynamic degree",
    "movement": "movement accuracy",
    "one_object": "one-object accuracy",
    "two_objects": "two-object accuracy",
    "subject_consistency": "subject consistency",
    "subject_consistency_inside": "subject consistency between entrances",
    "background_consistency": "background consistency",
    "background_consistency_inside": "background consistency between entrances",
    "subject_similarity": "Subj-S inside",
    "s2v_consistency": "S2V consistency",
    "s2v_decoupling": "S2V decoupling",
    "text_similarity": "Text-S",
    "text_similarity_inside": "Text-S inside",
    "event_similarity": "Text-S of events",
}
"""What each figure is called in reports."""

LESS_IS_BETTER = frozenset({"lpips"})


def load_judges(
    perceivers: Mapping[str, str] | None = None, sets: bool = False
) -> Callable[[], Any]:
    """What loads `Judges`, in any process.

    Args:
        perceivers: names of `load_perceivers`, by kind.
        sets: whether sets of videos are compared.
    """
    return partial(_load, dict(perceivers or {}), sets)


def _load(perceivers: Mapping[str, str], sets: bool) -> Any:
    from alchemint_jax.evaluate.quality.judges import Judges
    from alchemint_jax.perceive.choose import load_perceivers

    return Judges.of(load_perceivers(**perceivers), sets)


def of_videos(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The part of a report about whole videos.

    Args:
        rows: of each video its `case`, what is said of it, and figures by the names of `TITLES`; a
            figure that a video lacks is None.
    """
    titles = {name: title for name, title in TITLES.items() if any(name in row for row in rows)}
    return {
        "videos": [{**row, **{name: row.get(name) for name in titles}} for row in rows],
        **({"video_measures": titles} if titles else {}),
    }


def less_is_better(measures: Sequence[str], part: Mapping[str, Any]) -> list[str]:
    """Names of the figures of a report of which less is better: of subjects, and of videos."""
    return [*measures, *sorted(LESS_IS_BETTER & part.get("video_measures", {}).keys())]
