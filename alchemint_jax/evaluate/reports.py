"""Reports that were written before, read again: what each says of every subject and every video."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alchemint_jax.errors import DataError
from alchemint_jax.scene.clock import Clock

Key = tuple[str, int]

SYSTEM = ("model", "weights", "control", "relay", "system", "videos", "seconds_per_clip")
"""Settings of a report that say who was measured: all others say how."""
LOWER = ("t_l2",)
"""Figures of which less is better, where a report does not say so itself."""


@dataclasses.dataclass(frozen=True)
class Report:
    """A report that was read.

    Attributes:
        name: what tables call it.
        path: of its report.json.
        content: that file.
        rows: what it says of each subject, by case and place in it.
        videos: what it says of each video, by case; nothing where it only looks at subjects.

    Examples:
        >>> row = {"case": "a", "subject": 0, "asked_seconds": [[0, 1]], "fps": 8, "t_iou": 0.75}
        >>> content = {"measures": {"t_iou": "t-IOU"}, "rows": [row]}
        >>> report = al.evaluate.report_of(content, "mine", "report.json")
        >>> report.name, report.measures
        ('mine', {'t_iou': 't-IOU'})

    Source:
        This repository; the guide on evaluation describes report.json.
    """

    name: str
    path: Path
    content: Mapping[str, Any]
    rows: Mapping[Key, Mapping[str, Any]]
    videos: Mapping[str, Mapping[str, Any]]

    @property
    def measures(self) -> dict[str, str]:
        """Titles of its figures of subjects, by name."""
        return dict(self.content["measures"])

    @property
    def video_measures(self) -> dict[str, str]:
        """Titles of its figures of whole videos, by name."""
        return dict(self.content.get("video_measures", {}))

    @property
    def settings(self) -> dict[str, Any]:
        """How it was made."""
        return dict(self.content.get("settings", {}))


def less_is_better(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a report's figures of which less is better."""
    return tuple(content.get("less_is_better", LOWER))


def read_report(given: str) -> Report:
    """The report that an argument of `alchemint compare` names.

    Args:
        given: the path of report.json or of its folder, or NAME=PATH; without NAME a report is
            called by its folder.

    Returns:
        The report.

    Raises:
        DataError: naming the file, where there is none or it is something else.

    Examples:
        >>> import json, pathlib, tempfile
        >>> row = {"case": "a", "subject": 0, "asked_seconds": [[0, 1]], "fps": 8, "t_iou": 0.75}
        >>> content = {"measures": {"t_iou": "t-IOU"}, "rows": [row]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "report.json").write_text(json.dumps(content))
        ...     al.evaluate.read_report(f"mine={folder}").name
        'mine'

    Source:
        This repository; the guide on evaluation describes report.json.
    """
    name, equals, rest = given.partition("=")
    if not equals or os.path.exists(given):
        name, rest = "", given
    path = Path(rest)
    if path.is_dir():
        path = path / "report.json"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read this report: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON that can be read: {error}") from error
    called = name or path.absolute().parent.name or str(path)
    return report_of(content, called, path)


def report_of(content: Any, name: str, path: str | os.PathLike[str]) -> Report:
    """A report by what its file holds.

    Args:
        content: of report.json. Its `rows` have the figures that `measures` names; where it has
            `videos`, a row for each case, these have the figures that `video_measures` names.
        name: what tables call it.
        path: of the file, for messages.

    Returns:
        The report.

    Raises:
        DataError: naming the file, where `content` is no report.

    Examples:
        >>> row = {"case": "a", "subject": 0, "asked_seconds": [[0, 1]], "fps": 8, "t_iou": 0.75}
        >>> content = {"measures": {"t_iou": "t-IOU"}, "rows": [row]}
        >>> al.evaluate.report_of(content, "mine", "report.json").rows["a", 0]["t_iou"]
        0.75

    Source:
        This repository; the guide on evaluation describes report.json.
    """
    path = Path(path)
    rows: dict[Key, Mapping[str, Any]] = {}
    try:
        measures, of_videos = dict(content["measures"]), dict(content.get("video_measures", {}))
        dict(content.get("settings", {}))
        videos = {str(row["case"]): row for row in content.get("videos", ())}
        for case, row in videos.items():
            _check_figures(row, of_videos, case)
        for row in content["rows"]:
            key = str(row["case"]), int(row["subject"])
            if key in rows:
                raise DataError(
                    f"{path}: subject {key[1]} of case {key[0]} is there twice, so it has no "
                    "partner in another report"
                )
            _check_figures(row, measures, key[0])
            _frame(row), [(float(s), float(e)) for s, e in row["asked_seconds"]]
            rows[key] = row
    except DataError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path}: is not a report of `alchemint evaluate` ({problem}); give its report.json, "
            "or the folder it is in"
        ) from error
    if not rows:
        raise DataError(f"{path}: this report has no rows, so there is nothing to compare")
    if not measures and not of_videos:
        raise DataError(f"{path}: this report names no figures, so there is nothing to compare")
    return Report(name, path, content, rows, videos)


def _frame(row: Mapping[str, Any]) -> float:
    """The seconds of a frame."""
    return float(Clock(float(row["fps"]), 1, 1).second(1))


def _check_figures(row: Mapping[str, Any], names: Iterable[str], case: str) -> None:
    for name in names:
        if not isinstance(row.get(name), int | float | None):
            raise TypeError(f"{name} of {case} is {row[name]!r}, not a number")


def chosen(
    rows: Mapping[Any, Mapping[str, Any]], keys: Iterable[Any], names: Iterable[str]
) -> list[dict[str, Any]]:
    """The rows of these keys; a figure that a row does not have is one that is not known."""
    unknown = dict.fromkeys(names)
    return [{**unknown, **rows[key]} for key in keys]


def same_board(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows were asked for the same: one word, and the same seconds.

    Systems of other frame rates round seconds to other frames: half a frame of each is allowed.
    """
    a, b = one["asked_seconds"], other["asked_seconds"]
    slack = (_frame(one) + _frame(other)) / 2 + 1e-6
    return (
        one.get("word") == other.get("word")
        and len(a) == len(b)
        and all(
            abs(x - y) <= slack
            for s, t in zip(a, b, strict=True)
            for x, y in zip(s, t, strict=True)
        )
    )
