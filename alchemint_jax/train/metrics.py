"""What a run writes down: ``metrics.jsonl``, TensorBoard events and sample videos."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import places
from alchemint_jax.errors import AlchemintError
from alchemint_jax.outputs import remove_halves

_KEPT = ("best.json",)
"""Files that a run which goes on reads, beside its lines."""
_SAMPLES = "samples"
_EVERY = 30  # seconds; a bucket takes a new version of an object once a second at most


class MetricWriter:
    """Appends one JSON object per log to ``metrics.jsonl`` and mirrors it to TensorBoard.

    For a run in a bucket, where nothing can be appended to, files are kept in a temporary folder
    and put there as wholes: every 30 seconds, at `flush`, and with every video.

    Args:
        workdir: folder of the run, or its address in a bucket; created if missing.
        step: the step the run starts from. Lines after it, left by a run that was killed after
            its last checkpoint, are dropped, so that no step appears twice.
        active: False on processes that should write nothing.
    """

    def __init__(self, workdir: places.AnyPlace, step: int = 0, *, active: bool = True) -> None:
        self._active = active
        self._file: Any = None
        self._board: Any = None
        self._mirror: places.Mirror | None = None
        self._temporary: Any = None
        if not active:
            return
        if places.is_address(workdir):
            self._temporary = tempfile.TemporaryDirectory(prefix="alchemint-")
            self._workdir = Path(self._temporary.name)
            self._mirror = places.Mirror(self._workdir, places.place(workdir))
            for name in ("metrics.jsonl", *_KEPT):
                self._mirror.fetch(name)
            self._synced = time.monotonic()
        else:
            self._workdir = Path(workdir)
        self._workdir.mkdir(parents=True, exist_ok=True)
        remove_halves(self._workdir, self._workdir / _SAMPLES)
        path = self._workdir / "metrics.jsonl"
        truncate(path, step)
        self._file = path.open("a", encoding="utf-8")
        self._board = _tensorboard(self._workdir / "tensorboard", step)

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
        try:
            # What is on its way says more than that this fails, too.
            with contextlib.suppress(*(() if kind is None else (AlchemintError,))):
                self.flush()
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()

    def flush(self) -> None:
        """Returns once all lines are where the run is.

        Raises:
            AlchemintError: its bucket does not take them.
        """
        if self._mirror is not None:
            self._mirror.sync()
            self._synced = time.monotonic()

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
        if self._mirror is not None and time.monotonic() - self._synced > _EVERY:
            self.flush()

    def write_videos(self, step: int, videos: Mapping[str, np.ndarray], fps: float | int) -> None:
        """Writes uint8 ``[f, h, w, 3]`` videos to ``samples/step_000123_name.mp4``."""
        if not self._active or not videos:
            return
        from alchemint_jax import media

        folder = self._workdir / _SAMPLES
        folder.mkdir(parents=True, exist_ok=True)
        for name, video in videos.items():
            safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
            media.write_video(folder / f"step_{step:06d}_{safe}.mp4", np.asarray(video), fps)
        self.flush()

    def write_text(self, name: str, text: str) -> None:
        """Writes a file beside ``metrics.jsonl``, whole or not at all."""
        if self._active:
            from alchemint_jax import media

            media.write_bytes(self._workdir / name, text.encode())
            self.flush()

    def read_text(self, name: str) -> str | None:
        """What an earlier process wrote into such a file; None where there is none."""
        path = self._workdir / name if self._active else None
        return path.read_text(encoding="utf-8") if path and path.is_file() else None

    def lines(self) -> list[dict[str, Any]]:
        """All that has been logged; nothing where this process writes nothing."""
        return read_metrics(self._workdir / "metrics.jsonl") if self._active else []


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
