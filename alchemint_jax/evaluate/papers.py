"""Figures that papers print about themselves and others, for orientation beside measured ones.

They are the papers' own: of other models, on other boards, measured by other trackers. None of them
can be compared with a figure of a report to the last digit, and pages that show them say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Paper:
    """A table of a paper, or a part of one.

    Attributes:
        citation: which paper, and where in it.
        about: what was measured, and how, in a sentence.
        columns: titles of its figures.
        rows: what it prints for each system, in the order of `columns`.
    """

    citation: str
    about: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]


_S2VTIME = ("t-IOU", "t-L2 ↓", "CLIPtext", "CLIPref")

PAPERS = (
    Paper(
        "AlcheMinT, arXiv 2512.10943, main table, one reference",
        "Its own boards (S2VTime, not released), watched by Grounding DINO and SAM 2.",
        _S2VTIME,
        {
            "MinT": ("0.469", "0.283", "0.246", "0.748"),
            "MAGREF": ("0.520", "0.285", "0.231", "0.728"),
            "VACE": ("0.537", "0.262", "0.229", "0.744"),
            "Video Alchemist": ("0.479", "0.298", "0.250", "0.774"),
            "AlcheMinT": ("0.574", "0.220", "0.259", "0.787"),
        },
    ),
    Paper(
        "AlcheMinT, arXiv 2512.10943, main table, two references",
        "The same, with two subjects on each board.",
        _S2VTIME,
        {
            "MAGREF": ("0.525", "0.283", "0.230", "0.730"),
            "Video Alchemist": ("0.477", "0.298", "0.250", "0.764"),
            "AlcheMinT": ("0.552", "0.235", "0.260", "0.776"),
        },
    ),
    Paper(
        "TempoControl, arXiv 2510.02226, versus Wan 2.1",
        "Share of frames, or of videos, that follow the moment asked for, in per cent; prompts "
        "name one object, two objects, or a movement. Versions of it differ by up to 3.",
        ("one object", "two objects", "movement"),
        {"Wan 2.1": ("63.94", "37.50", "19"), "TempoControl": ("82.50", "52.93", "57")},
    ),
    Paper(
        "Kaleido, arXiv 2510.18573, table 1",
        "400 reference pictures of its own, without times: no system there is told any.",
        (
            "S2V consistency",
            "S2V decoupling",
            "subject consistency",
            "background consistency",
            "motion smoothness",
        ),
        {
            "Vidu Q1": ("0.704", "0.317", "0.956", "0.956", "0.993"),
            "Kling": ("0.696", "0.316", "0.925", "0.940", "0.992"),
            "VACE": ("0.710", "0.284", "0.927", "0.934", "0.988"),
            "Phantom": ("0.697", "0.308", "0.946", "0.952", "0.989"),
            "SkyReels": ("0.682", "0.247", "0.847", "0.892", "0.985"),
            "Kaleido": ("0.723", "0.319", "0.956", "0.953", "0.991"),
        },
    ),
    Paper(
        "TIE, arXiv 2605.10543, and its project page",
        "Text events with times, not pictures. People judged whether the times were kept; how the "
        "boundary error was measured is not public.",
        ("times kept, % (people)", "boundary error, s ↓"),
        {"its baseline": ("77.34", "0.261"), "TIE": ("96.03", "0.073")},
    ),
)
"""What pages show, in this order."""
