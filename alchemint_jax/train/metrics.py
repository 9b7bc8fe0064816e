"""What a run writes down: ``metrics.jsonl``, TensorBoard events and sample videos."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class MetricWriter:
    """Appends one JSON object per log to ``metrics.jsonl`` and mirrors it to TensorBoard.

    Args:
        workdir: directory of the run; created if missing.
        step: the step the run starts from. Lines after it, left by a run that was killed after
            its last checkpoint, are dropped, so that no step appears twice.
        active: False on processes that should write nothing.
    """

    def __init__(self, workdir: Path | str, step: int = 0, *, active: bool = True) -> None:
        self._workdir = Path(workdir)
        self._active = active
        self._file: Any = None
        self._board: Any = None
        if not active:
            return
        self._workdir.mkdir(parents=True, exist_ok=True)
        path = self._workdir / "metrics.jsonl"
        truncate(path, step)
        self._file = path.open("a", encoding="utf-8")
        self._board = _tensorboard(self._workdir / "tensorboard", step)

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Logs scalars. Non-finite values are written as null: JSON has none."""
        if not self._active:
            return
        values = {k: float(v) for k, v in figures.items()}
        line: dict[str, float | None] = {"step": step, "time": round(time.time(), 3)}
        line |= {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def write_videos(self, step: int, videos: Mapping[str, np.ndarray], fps: float | int) -> None:
        """Writes uint8 ``[f, h, w, 3]`` videos to ``samples/step_000123_name.mp4``."""
        if not self._active or not videos:
            return
        from alchemint_jax import media

        folder = self._workdir / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        for name, video in videos.items():
            safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
            media.write_video(folder / f"step_{step:06d}_{safe}.mp4", np.asarray(video), fps)


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; those cut short by a kill or damaged are left out."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
    return lines


def truncate(path: Path, step: int) -> None:
    """Drops the lines after ``step``, atomically."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)


def _tensorboard(directory: Path, step: int) -> Any:
    """A TensorBoard writer, or None where tensorboardX is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=step + 1 if step else None)
