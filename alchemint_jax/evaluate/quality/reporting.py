"""Figures of whole videos as reports hold them: a row for each video, and titles by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from alchemint_jax.evaluate.quality.judges import LESS_IS_BETTER, TITLES, Judges


def load_judges(perceivers: Mapping[str, str] | None = None) -> Callable[[], Judges]:
    """What loads judges, in any process; `perceivers` are names of `load_perceivers`, by kind."""
    return partial(_load, dict(perceivers or {}))


def _load(perceivers: Mapping[str, str]) -> Judges:
    from alchemint_jax.perceive.choose import load_perceivers

    return Judges.of(load_perceivers(**perceivers))


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
