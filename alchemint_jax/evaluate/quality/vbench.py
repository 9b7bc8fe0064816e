"""To VBench and back: a folder that its `custom_input` takes, and the scores that it writes.

Nothing of VBench is imported: it has an environment of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media
from alchemint_jax.errors import DataError
from alchemint_jax.results import write_json
from alchemint_jax.scene.scene import Scene

DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
"""What VBench measures of videos of others."""

VIDEOS, PROMPTS = "videos", "prompts.json"
_RESULTS = "*_eval_results.json"


def export_vbench(
    clips: Iterable[tuple[Scene, str | os.PathLike[str] | np.ndarray]],
    out: str | os.PathLike[str],
) -> str:
    """Writes a folder for VBench: `videos/ID.mp4`, and `prompts.json` with the caption of each.

    A file that is there already is written again.

    Args:
        clips: scenes, each with its video: an mp4 file, or uint8 `[f, h, w, 3]`. One at a time is
            held.
        out: the folder.

    Returns:
        The command that has VBench score it, to be run where VBench is installed.

    Raises:
        DataError: an id cannot be the name of a file, is there twice, or a video cannot be read.
        AlchemintError: the folder cannot be written.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from alchemint_jax.scene import Clock, Scene
        >>> scene = Scene("ball", "a ball rolls past", Clock(fps=8, frames=9, stride=4))
        >>> with tempfile.TemporaryDirectory() as out:
        ...     video = np.zeros((9, 32, 32, 3), np.uint8)
        ...     command = al.evaluate.quality.export_vbench([(scene, video)], out)
        ...     names = sorted(path.name for path in Path(out, "videos").iterdir())
        >>> names
        ['ball.mp4']

    Source:
        VBench, arXiv 2311.17982: "evaluate your own videos".
    """
    folder = media.check_folder(out)
    videos = folder / VIDEOS
    prompts: dict[str, str] = {}
    for scene, video in clips:
        name = f"{_plain(scene.id)}.mp4"
        if name in prompts:
            raise DataError(f"{scene.id}: two clips have this id; ids must differ")
        prompts[name] = scene.caption
        videos.mkdir(parents=True, exist_ok=True)
        if isinstance(video, np.ndarray):
            media.write_video(videos / name, video, float(scene.clock.fps))
        else:
            media.write_bytes(videos / name, _read(Path(video)))
    if not prompts:
        raise DataError("there are no clips to export")
    write_json(folder / PROMPTS, prompts)
    return (
        f"vbench evaluate --videos_path {shlex.quote(str(videos))} --mode custom_input "
        f"--dimension {' '.join(DIMENSIONS)}"
    )


def _plain(name: str) -> str:
    if not name or Path(name).name != name or "\\" in name or name.startswith("."):
        raise DataError(
            f"{name!r}: this id cannot be the name of a file; give the storyboard an "
            '"id" of letters and digits'
        )
    return name


def _read(path: Path) -> bytes:
    if path.suffix.lower() != ".mp4":
        raise DataError(f"{path}: VBench takes mp4 files; convert it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


@dataclasses.dataclass(frozen=True)
class VbenchScores:
    """What VBench found, as it writes it.

    Attributes:
        overall: the score of the set in each dimension. VBench's own mean: of consistency, for
            one, it is over frames and not over videos.
        videos: the score of each video by its id, in each dimension.

    Examples:
        >>> scores = al.evaluate.quality.VbenchScores({"dynamic_degree": 0.5}, {})
        >>> scores.overall["dynamic_degree"]
        0.5

    Source:
        VBench, arXiv 2311.17982, and its code.
    """

    overall: Mapping[str, float]
    videos: Mapping[str, Mapping[str, float]]


def read_vbench(path: str | os.PathLike[str]) -> VbenchScores:
    """Reads the scores that VBench has written.

    Args:
        path: a file `..._eval_results.json`, or a folder of them. Where several have a dimension,
            that of the newest name counts.

    Returns:
        The scores.

    Raises:
        DataError: there is no such file, or it holds something else.

    Examples:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> row = {"video_path": "videos/ball.mp4", "video_results": True}
        >>> results = {"dynamic_degree": [1.0, [row]]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "results_eval_results.json").write_text(json.dumps(results))
        ...     scores = al.evaluate.quality.read_vbench(folder)
        >>> dict(scores.videos["ball"])
        {'dynamic_degree': 1.0}

    Source:
        VBench, arXiv 2311.17982, and its code.
    """
    path = Path(path)
    files = sorted(path.glob(_RESULTS)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: holds no {_RESULTS}; give the folder that VBench wrote to")
    overall: dict[str, float] = {}
    videos: dict[str, dict[str, float]] = {}
    for file in files:
        for dimension, (score, rows) in _results(file).items():
            overall[dimension] = score
            for own in videos.values():
                own.pop(dimension, None)
            for name, value in rows:
                videos.setdefault(name, {})[dimension] = value
    return VbenchScores(overall, {name: own for name, own in videos.items() if own})


def _results(file: Path) -> dict[str, tuple[float, list[tuple[str, float]]]]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds no scores of VBench: a table of dimensions was expected")
    return {name: _dimension(value, f"{file}: {name}") for name, value in content.items()}


def _dimension(value: Any, where: str) -> tuple[float, list[tuple[str, float]]]:
    try:
        score, rows = value
        found = [(Path(row["video_path"]).stem, float(row["video_results"])) for row in rows]
        return float(score), found
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{where}: a score and a list of video_path and video_results were expected ({error})"
        ) from error
