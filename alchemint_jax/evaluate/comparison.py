"""Two reports, compared board by board: which figures differ, by how much, and how surely."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from alchemint_jax import media, results
from alchemint_jax.errors import DataError, listed
from alchemint_jax.evaluate.pages import known, page
from alchemint_jax.evaluate.paired import CLEAR, holm, tested, too_few
from alchemint_jax.evaluate.reports import SYSTEM, Key, Report, chosen, less_is_better, same_board


def compare(a: Report, b: Report) -> dict[str, Any]:
    """What B does better or worse than A, on the boards that both were asked for.

    Args:
        a: what is compared to, such as the model so far.
        b: what is compared.

    Returns:
        Plain values, ready for JSON. `figures` has, for each figure that both measured, its
        `title`, whether `less_is_better`, the means `a` and `b` and their `difference` (b less a,
        with its 95 % interval) over `pairs` of subjects or of videos, `p` of a permutation test,
        `p_adjusted` for the number of figures (Holm), and `better`: "a", "b", or None where the
        adjusted p is 0.05 or more. `notes` are sentences: what was asked or measured otherwise.
        `rows` are the pairs.

    Raises:
        DataError: the reports share no board, or no figure.

    Examples:
        >>> row = {"case": "a", "subject": 0, "word": "disc", "fps": 8, "asked_seconds": [[0, 1]]}
        >>> one, other = (
        ...     al.evaluate.report_of(
        ...         {"measures": {"t_iou": "t-IOU"}, "rows": [{**row, "t_iou": value}]}, name, name
        ...     )
        ...     for name, value in (("before", 0.5), ("after", 0.75))
        ... )
        >>> al.evaluate.compare(one, other)["figures"]["t_iou"]["difference"]["mean"]
        0.25

    Source:
        This repository.
    """
    shared = [key for key in a.rows if key in b.rows]
    if not shared:
        raise DataError(
            f"{a.path} and {b.path} have no board in common ({_ids(a)} there, {_ids(b)} here), so "
            "there is nothing to compare: measure both on one benchmark, with one --seed"
        )
    pairs = [key for key in shared if same_board(a.rows[key], b.rows[key])]
    if not pairs:
        raise DataError(
            f"{a.path} and {b.path}: boards of the same names ({_ids(a)}) ask for other subjects "
            "or other times, so there is nothing to compare: measure both on one benchmark"
        )
    titles, of_videos = (
        {name: title for name, title in one.items() if name in other}
        for one, other in ((a.measures, b.measures), (a.video_measures, b.video_measures))
    )
    if not titles and not of_videos:
        raise DataError(
            f"{a.path} and {b.path} have no figure in common ({', '.join(a.measures)}; "
            f"{', '.join(b.measures)}), so there is nothing to compare"
        )
    ones, others = (chosen(report.rows, pairs, titles) for report in (a, b))
    found = {name: tested(others, ones, name) for name in titles}
    moved = {case for case, i in (*a.rows, *b.rows) if (case, i) not in pairs}
    cases = [case for case in a.videos if case in b.videos and case not in moved]
    first, second = (chosen(report.videos, cases, of_videos) for report in (a, b))
    found |= {name: tested(second, first, name) for name in of_videos}
    clips = len({case for case, _ in pairs})
    notes = [*_asked_otherwise(a, b, shared, pairs), *_measured_otherwise(a, b)]
    if too_few(clips, len(found)):
        notes.append(
            f"{clips} boards are too few for {len(found)} figures: no difference, however large, "
            "would be called clear."
        )
    return {
        "a": _about(a),
        "b": _about(b),
        "clips": clips,
        "subjects": len(pairs),
        "notes": notes,
        "figures": _figures(found, titles | of_videos, less_is_better(b.content)),
        "rows": [_pair(one, other, titles) for one, other in zip(ones, others, strict=True)],
    }


def _figures(
    found: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], less: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What `tested` gives of each figure, with the number of figures taken into account."""
    adjusted = holm({name: figure["p"] for name, figure in found.items()})
    figures = {}
    for name, figure in found.items():
        gain = figure["difference"]["mean"] * (-1 if name in less else 1)
        figures[name] = {
            "title": titles[name],
            "less_is_better": name in less,
            "pairs": figure["pairs"],
            "a": figure["other"],
            "b": figure["one"],
            "difference": figure["difference"],
            "p": figure["p"],
            "p_adjusted": adjusted[name],
            "better": ("b" if gain > 0 else "a") if adjusted[name] < CLEAR else None,
        }
    return figures


def _pair(
    one: Mapping[str, Any], other: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "case": one["case"],
        "subject": one["subject"],
        "word": one.get("word", ""),
        "a": {name: one.get(name) for name in names},
        "b": {name: other.get(name) for name in names},
    }


def _about(report: Report) -> dict[str, Any]:
    return {"name": report.name, "path": str(report.path), "settings": report.settings}


def _ids(report: Report) -> str:
    cases = list(dict.fromkeys(case for case, _ in report.rows))
    return ", ".join(listed(cases, 2))


def _asked_otherwise(
    a: Report, b: Report, shared: Sequence[Key], pairs: Sequence[Key]
) -> list[str]:
    """Sentences on the subjects that are in no pair."""
    notes = []
    for report, other in ((a, b), (b, a)):
        alone = dict.fromkeys(case for case, i in report.rows if (case, i) not in other.rows)
        if alone:
            notes.append(
                f"{len(alone)} boards of {report.name} have subjects that {other.name} does not "
                f"have; these are left out: {', '.join(listed(list(alone)))}."
            )
    changed = dict.fromkeys(case for case, i in shared if (case, i) not in pairs)
    if changed:
        notes.append(
            f"{len(changed)} boards of one name ask for another subject or other times in each; "
            f"these are left out: {', '.join(listed(list(changed)))}."
        )
    return notes


def _measured_otherwise(a: Report, b: Report) -> list[str]:
    """Sentences on settings and figures that only one has, or that differ."""
    notes = []
    one, other = a.settings, b.settings
    for name in dict.fromkeys([*one, *other]):
        if name not in SYSTEM and one.get(name) != other.get(name):
            notes.append(
                f"The setting {name} differs: {one.get(name, 'not given')} of {a.name}, "
                f"{other.get(name, 'not given')} of {b.name}."
            )
    for report, rest in ((a, b), (b, a)):
        own, theirs = (x.measures | x.video_measures for x in (report, rest))
        alone = [title for name, title in own.items() if name not in theirs]
        if alone:
            notes.append(f"Only {report.name} has {', '.join(alone)}.")
    return notes


def table(comparison: Mapping[str, Any]) -> str:
    """A comparison as text for a terminal: a line for each figure, then the notes."""
    a, b = comparison["a"]["name"], comparison["b"]["name"]
    lines = [["", a, b, "difference", "95 % interval", "p", "adjusted", ""]]
    for figure in comparison["figures"].values():
        gap = figure["difference"]
        lines.append(
            [
                figure["title"] + (" (lower is better)" if figure["less_is_better"] else ""),
                number(figure["a"]),
                number(figure["b"]),
                number(gap["mean"], "+.3f"),
                f"{number(gap['low'], '+.3f')} to {number(gap['high'], '+.3f')}",
                number(figure["p"], ".4f"),
                number(figure["p_adjusted"], ".4f"),
                verdict(comparison, figure),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if i in (0, len(line) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    pairs = f"{comparison['subjects']} subjects of {comparison['clips']} boards, in pairs."
    return "\n".join([*text, "", pairs, *comparison["notes"]])


def save_comparison(comparison: Mapping[str, Any], out: str | os.PathLike[str]) -> None:
    """Writes out/compare.json and out/compare.html, each whole or not at all; AlchemintError if it
    cannot.
    """
    folder = media.check_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    results.write_json(folder / "compare.json", comparison)
    media.write_bytes(folder / "compare.html", render_comparison(comparison).encode())


def render_comparison(comparison: Mapping[str, Any], most: int = 50) -> str:
    """The page of a comparison as text. `most` subjects are shown, those that lost most first."""
    first, headline = next(iter(comparison["figures"].items()))
    gaps = [
        (row, row["b"][first] - row["a"][first])
        for row in comparison["rows"]
        if known(row["a"].get(first)) and known(row["b"].get(first))
    ]
    far = sorted(gaps, key=lambda pair: abs(pair[1]), reverse=True)[:most]
    settings = {**comparison["a"]["settings"], **comparison["b"]["settings"]}
    return page(
        "compare.html",
        **comparison,
        settings=[name for name in settings if name != "weights"],
        verdicts={
            name: verdict(comparison, figure) for name, figure in comparison["figures"].items()
        },
        first=first,
        headline=headline["title"],
        most=sorted(far, key=lambda pair: pair[1]),
    )


def verdict(comparison: Mapping[str, Any], figure: Mapping[str, Any]) -> str:
    """Which of the two is better in a figure, in words."""
    if figure["better"]:
        return f"{comparison[figure['better']]['name']} is better"
    same = all(figure["difference"][end] == 0 for end in ("mean", "low", "high"))
    return "the same" if same else "no clear difference"


def number(value: float | None, form: str = ".3f") -> str:
    """A figure as tables show it; a dash where it is not known."""
    return format(value, form) if value is not None and known(value) else "–"
