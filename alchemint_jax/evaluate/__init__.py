"""Measuring generated clips: interval metrics, the benchmark and its report.

`metrics` is NumPy only and imported at once; the other names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    from alchemint_jax.evaluate.benchmark import run_benchmark
    from alchemint_jax.evaluate.report import save_report
    from alchemint_jax.evaluate.scores import score

__all__ = [
    "absence_rate",
    "always_present",
    "bootstrap_ci",
    "detection_rate",
    "frame_iou",
    "presence",
    "presence_rate",
    "recalls",
    "run_benchmark",
    "save_report",
    "score",
    "t_iou",
    "t_l2",
]

_HOMES = {
    "run_benchmark": "benchmark",
    "save_report": "report",
    "score": "scores",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
