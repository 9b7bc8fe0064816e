"""Measuring clips, generated or not: interval metrics, the benchmark and its report.

Metrics are NumPy only and imported at once; the other names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from alchemint_jax.evaluate.boundaries import boundary_errors
from alchemint_jax.evaluate.identity import confusion, identity_inside, leak
from alchemint_jax.evaluate.metrics import (
    absence_rate,
    always_present,
    bootstrap_ci,
    detection_rate,
    frame_iou,
    presence,
    presence_rate,
    recalls,
    t_iou,
    t_l2,
)

if TYPE_CHECKING:
    from alchemint_jax.evaluate import quality, students
    from alchemint_jax.evaluate.asks import read_asks
    from alchemint_jax.evaluate.benchmark import run_benchmark
    from alchemint_jax.evaluate.calibration import calibrate
    from alchemint_jax.evaluate.cases import Benchmark, read_benchmark
    from alchemint_jax.evaluate.comparison import compare
    from alchemint_jax.evaluate.html_report import save_report
    from alchemint_jax.evaluate.leaderboard import save_leaderboard
    from alchemint_jax.evaluate.paired import holm, permutation_p
    from alchemint_jax.evaluate.perceived import perceived_tracker
    from alchemint_jax.evaluate.reports import Report, read_report, report_of
    from alchemint_jax.evaluate.scores import score
    from alchemint_jax.evaluate.tracker import Sighting, Tracker
    from alchemint_jax.evaluate.videos import score_videos

__all__ = [
    "Benchmark",
    "Report",
    "Sighting",
    "Tracker",
    "absence_rate",
    "always_present",
    "bootstrap_ci",
    "boundary_errors",
    "calibrate",
    "compare",
    "confusion",
    "detection_rate",
    "frame_iou",
    "holm",
    "identity_inside",
    "leak",
    "perceived_tracker",
    "permutation_p",
    "presence",
    "presence_rate",
    "quality",
    "read_asks",
    "read_benchmark",
    "read_report",
    "recalls",
    "report_of",
    "run_benchmark",
    "save_leaderboard",
    "save_report",
    "score",
    "score_videos",
    "students",
    "t_iou",
    "t_l2",
]

_HOMES = {
    **dict.fromkeys(("Benchmark", "read_benchmark"), "cases"),
    **dict.fromkeys(("Report", "read_report", "report_of"), "reports"),
    **dict.fromkeys(("Sighting", "Tracker"), "tracker"),
    **dict.fromkeys(("holm", "permutation_p"), "paired"),
    "compare": "comparison",
    "calibrate": "calibration",
    "perceived_tracker": "perceived",
    "read_asks": "asks",
    "run_benchmark": "benchmark",
    "save_leaderboard": "leaderboard",
    "save_report": "html_report",
    "score": "scores",
    "score_videos": "videos",
}


def __getattr__(name: str) -> Any:
    if name in ("quality", "students"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
