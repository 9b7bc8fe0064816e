"""A page that ranks many reports, in sections of those that were asked for the same boards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from alchemint_jax import media
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.pages import page
from alchemint_jax.evaluate.paired import CLEAR, holm, tested, too_few
from alchemint_jax.evaluate.papers import PAPERS
from alchemint_jax.evaluate.reports import SYSTEM, Report, chosen, less_is_better, same_board
from alchemint_jax.evaluate.scores import summarise


def save_leaderboard(reports: Sequence[Report], out: str | os.PathLike[str]) -> None:
    """Writes a page that ranks reports, in a table for each set of boards.

    Args:
        reports: any number of them, each with a name of its own.
        out: the HTML file, which is written whole or not at all.

    Raises:
        DataError: two reports have one name.
        AlchemintError: the file cannot be written.

    Examples:
        >>> import pathlib, tempfile
        >>> row = {"case": "a", "subject": 0, "asked_seconds": [[0, 1]], "fps": 8, "t_iou": 0.75}
        >>> content = {"measures": {"t_iou": "t-IOU"}, "rows": [row]}
        >>> reports = [al.evaluate.report_of(content, name, "report.json") for name in "ab"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     al.evaluate.save_leaderboard(reports, f"{folder}/page.html")
        ...     "t-IOU" in pathlib.Path(folder, "page.html").read_text()
        True

    Source:
        This repository.
    """
    sections = leaderboard(reports)
    text = page("leaderboard.html", sections=sections, reports=len(reports), papers=PAPERS)
    media.write_bytes(out, text.encode())


def leaderboard(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Tables of systems, one for each set of boards, as plain values.

    A section has `titles` of all figures, those of which `lower` is better, the number of `clips`
    and `subjects`, and `systems`, the best by the first figure first. Each of these has a `name`,
    what is `told` of it, and `figures`: means with their 95 % interval, whether the mean is the
    `best`, and whether it is `tied`: a permutation test on the same boards, adjusted for how many
    systems there are, cannot tell it from the best. `notes` are sentences on settings that
    its systems do not share.

    Raises:
        DataError: two reports have one name.
    """
    names = [report.name for report in reports]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"two reports are called {twice[0]}: give each a name of its own, as NAME=REPORT"
        )
    sections: list[list[Report]] = []
    for report in reports:
        fitting = (section for section in sections if _same_boards(section[0], report))
        section = next(fitting, None)
        if section is None:
            sections.append([report])
        else:
            section.append(report)
    return [_section(section) for section in sections]


def _same_boards(one: Report, other: Report) -> bool:
    return one.rows.keys() == other.rows.keys() and all(
        same_board(row, other.rows[key]) for key, row in one.rows.items()
    )


def _section(reports: Sequence[Report]) -> dict[str, Any]:
    keys = list(reports[0].rows)
    titles: dict[str, str] = {}
    of_videos: dict[str, str] = {}
    for report in reports:
        titles, of_videos = report.measures | titles, report.video_measures | of_videos
    less = {name for report in reports for name in less_is_better(report.content)}
    watched = list(dict.fromkeys(case for case, _ in keys))
    unseen = {case: {"case": case} for case in watched}
    rows = {report.name: chosen(report.rows, keys, titles) for report in reports}
    videos = {
        report.name: chosen({**unseen, **report.videos}, watched, of_videos) for report in reports
    }
    figures: dict[str, dict[str, Any]] = {
        name: summarise(rows[name], titles) | summarise(videos[name], of_videos) for name in rows
    }
    for names, of in ((titles, rows), (of_videos, videos)):
        for name in names:
            _mark(name, -1 if name in less else 1, figures, of)
    titles = titles | of_videos
    lower = [name for name in titles if name in less]
    first = next(iter(titles))
    systems = [
        {"name": report.name, "told": _told(report), "figures": figures[report.name]}
        for report in reports
    ]
    sign = 1 if first in lower else -1
    # What is not known is last.
    order = {
        system: np.nan_to_num(sign * own[first]["mean"], nan=np.inf)
        for system, own in figures.items()
    }
    return {
        "titles": titles,
        "lower": lower,
        "clips": len({case for case, _ in keys}),
        "subjects": len(keys),
        "benchmark": str(reports[0].settings.get("benchmark", "benchmark")),
        "systems": sorted(systems, key=lambda system: order[system["name"]]),
        "notes": _notes(reports),
    }


def _mark(
    name: str, sign: int, figures: dict[str, dict[str, Any]], rows: dict[str, list[dict[str, Any]]]
) -> None:
    """Says of each system's figure whether it is the best, or cannot be told from it."""
    means = {system: own[name]["mean"] for system, own in figures.items()}
    seen = [system for system, mean in means.items() if np.isfinite(mean)]
    for own in figures.values():
        own[name] |= {"best": False, "tied": False}
    if not seen:
        return
    best = max(seen, key=lambda system: sign * means[system])
    figures[best][name]["best"] = True
    rest = [system for system in seen if system != best]
    p = holm({system: tested(rows[best], rows[system], name)["p"] for system in rest})
    for system in rest:
        # No pairs in which both are known: nothing can be told.
        figures[system][name]["tied"] = not p[system] < CLEAR


def _told(report: Report) -> str:
    """What a report says of who was measured and how it was sampled."""
    settings = report.settings
    parts = [str(settings[name]) for name in ("model", "control") if name in settings]
    parts = [part for part in parts if part != report.name]
    parts += [f"{name} {settings[name]}" for name in ("steps", "solver") if settings.get(name)]
    return ", ".join(parts)


def _notes(reports: Sequence[Report]) -> list[str]:
    """Sentences on settings that are not the same for all systems of a section."""
    notes = []
    names = dict.fromkeys(name for report in reports for name in report.settings)
    for name in (name for name in names if name not in SYSTEM):
        values = {report.name: report.settings.get(name, "not given") for report in reports}
        if len({repr(value) for value in values.values()}) > 1:
            told = ", ".join(f"{value} ({system})" for system, value in values.items())
            notes.append(f"The setting {name} differs: {told}.")
    clips, others = len({case for case, _ in reports[0].rows}), len(reports) - 1
    if others and too_few(clips, others):
        notes.append(
            f"{clips} boards are too few for {len(reports)} systems: none, however bad, could be "
            "told from the best."
        )
    return notes
