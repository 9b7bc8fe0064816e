"""Figures of whole videos: fidelity, steadiness, motion, timing, likeness, and distances of sets.

Each is a pure function of arrays; `figures` gives all that can be had of one video. The names are
imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.evaluate.quality.fidelity import psnr, ssim
    from alchemint_jax.evaluate.quality.frechet import (
        Moments,
        frechet_distance,
        frechet_video_distance,
    )
    from alchemint_jax.evaluate.quality.i3d import I3dFeatures
    from alchemint_jax.evaluate.quality.judges import Judges
    from alchemint_jax.evaluate.quality.likeness import (
        s2v_consistency,
        s2v_decoupling,
        subject_similarity,
        text_similarity,
    )
    from alchemint_jax.evaluate.quality.lpips import Lpips
    from alchemint_jax.evaluate.quality.motion import (
        busiest_second,
        dynamic_degree,
        load_farneback,
        movement_accuracy,
    )
    from alchemint_jax.evaluate.quality.per_video import figures
    from alchemint_jax.evaluate.quality.reporting import LESS_IS_BETTER, TITLES
    from alchemint_jax.evaluate.quality.seen import Seen
    from alchemint_jax.evaluate.quality.steadiness import (
        consistency,
        steady_runs,
        temporal_flickering,
    )
    from alchemint_jax.evaluate.quality.timing import frames_right, sampled_frames
    from alchemint_jax.evaluate.quality.vbench import VbenchScores, export_vbench, read_vbench

_NAMES = {
    "fidelity": ("psnr", "ssim"),
    "frechet": ("Moments", "frechet_distance", "frechet_video_distance"),
    "i3d": ("I3dFeatures",),
    "judges": ("Judges",),
    "likeness": (
        "s2v_consistency",
        "s2v_decoupling",
        "subject_similarity",
        "text_similarity",
    ),
    "lpips": ("Lpips",),
    "motion": ("busiest_second", "dynamic_degree", "load_farneback", "movement_accuracy"),
    "per_video": ("figures",),
    "reporting": ("LESS_IS_BETTER", "TITLES"),
    "seen": ("Seen",),
    "steadiness": ("consistency", "steady_runs", "temporal_flickering"),
    "timing": ("frames_right", "sampled_frames"),
    "vbench": ("VbenchScores", "export_vbench", "read_vbench"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "LESS_IS_BETTER",
    "TITLES",
    "I3dFeatures",
    "Judges",
    "Lpips",
    "Moments",
    "Seen",
    "VbenchScores",
    "busiest_second",
    "consistency",
    "dynamic_degree",
    "export_vbench",
    "figures",
    "frames_right",
    "frechet_distance",
    "frechet_video_distance",
    "load_farneback",
    "movement_accuracy",
    "psnr",
    "read_vbench",
    "s2v_consistency",
    "s2v_decoupling",
    "sampled_frames",
    "ssim",
    "steady_runs",
    "subject_similarity",
    "temporal_flickering",
    "text_similarity",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
