"""Scoring the videos of any system: files named by case, watched by processes, a row at a time.

DIR/rows keeps what is known of each video, in a file that is whole or not there; its first line
says what it depends on. So an evaluation that was stopped goes on, and one whose video, board or
tracker has changed measures again what has changed. Memory is that of the rows, and of a few frames
in each process, however many videos there are.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media
from alchemint_jax.annotate import pool
from alchemint_jax.annotate.rows import digest, read_shard, write_shard
from alchemint_jax.annotate.run import exit_status
from alchemint_jax.annotate.sources import SUFFIXES, contents
from alchemint_jax.compilation import prepare_jax, work_beside
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.evaluate import scores, truths
from alchemint_jax.evaluate.asks import Ask
from alchemint_jax.evaluate.clip import Clip
from alchemint_jax.evaluate.quality.reporting import less_is_better, of_videos
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.outputs import alone, remove_halves
from alchemint_jax.places import local
from alchemint_jax.progress import Progress
from alchemint_jax.results import plain
from alchemint_jax.scene.clock import Clock

Row = dict[str, Any]
Make = Callable[[], Tracker]
_VERSION = 1  # raised when rows are made otherwise
_TRIES = 2  # of a video whose process died
_SHOWN = 256  # pixels, the longest side of videos in the report ...
_WHOLE = 8 * 2**20  # ... but for files of fewer bytes, which are shown as they are


def find_videos(
    folder: str | os.PathLike[str], names: Sequence[str], option: str = "--videos"
) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each case, and names of videos that belong to none.

    A file belongs to the case whose id is its path in the folder without the ending.

    Raises:
        DataError: there is no such folder; `option` says whose it is.
    """
    base = local(folder, "videos are read from this machine; copy them here first")
    if not base.is_dir():
        raise DataError(f"{option} {base}: there is no such folder")
    found: dict[str, list[Path]] = {name: [] for name in names}
    others = []
    for path in sorted(base.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            name = path.relative_to(base).as_posix()[: -len(path.suffix)]
            if name in found:
                found[name].append(path)
            else:
                others.append(path.relative_to(base).as_posix())
    return found, others


@dataclasses.dataclass(frozen=True)
class _Task:
    """A video to be watched."""

    number: int
    ask: Ask
    paths: tuple[Path, ...]
    fingerprint: str
    truth: Path | None = None


def score_videos(
    folder: str | os.PathLike[str],
    asks: Sequence[Ask],
    make: Make,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    benchmark: str = "boards",
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
    judge: Callable[[], Any] | None = None,
    truth: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Scores the videos of a folder, and writes report.json and report.html; goes on where it was
    stopped.

    Args:
        folder: of the videos, named by the ids of the cases; other containers than mp4 will do.
        asks: the cases.
        make: makes the tracker, in each process.
        out: the folder of the report, and of rows/.
        workers: processes; 0 works in this one, which a damaged file may then end.
        benchmark: what the report calls the cases.
        settings: what the report is to say of the tracker; rows are made again if they change.
        progress: whether to say how far it is.
        judge: loads who measures whole videos, in each process; None leaves those figures out.
        truth: a folder of the videos that these should be, named alike, to which `judge` compares
            them; None compares nothing.

    Returns:
        The figures of the report, without its rows and titles.

    Raises:
        AlchemintError: the folder cannot be read or written, or another run is writing into it.

    Examples:
        >>> import tempfile
        >>> from types import SimpleNamespace
        >>> from alchemint_jax.evaluate.asks import Ask
        >>> from alchemint_jax.media import write_video
        >>> from alchemint_jax.scene import Clock, Scene, Spans, Subject
        >>> scene = Scene("a", "a disc", Clock(8.0, 5, 4), (Subject("disc", Spans([(1, 4)])),))
        >>> seen = al.evaluate.Sighting(np.arange(5) >= 2, "disc", "disc")
        >>> tracker = SimpleNamespace(
        ...     measures={},
        ...     notes={},
        ...     check=lambda image: None,
        ...     track=lambda video, case: [seen],
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_video(f"{folder}/videos/a.mp4", np.zeros((5, 16, 16, 3), np.uint8), 8.0)
        ...     figures = al.evaluate.score_videos(
        ...         f"{folder}/videos", [Ask.of_scene(scene)], lambda: tracker, f"{folder}/report",
        ...         workers=0, progress=False,
        ...     )
        >>> figures["overall"]["t_iou"]["mean"]
        0.5

    Source:
        This repository.
    """
    from alchemint_jax.evaluate.html_report import save_report

    target = media.check_folder(out)
    if not asks:
        raise DataError("the benchmark has no cases")
    found, others = find_videos(folder, [ask.id for ask in asks])
    if not any(found.values()):
        raise DataError(
            f"--videos {folder}: none of its videos is named by a case; the first one is "
            f"{asks[0].id!r}, so its video would be {asks[0].id}.mp4"
        )
    tracker = make()
    settings = settings or {}
    how = [_VERSION, plain(dict(settings)), plain(getattr(tracker, "fingerprint", None))]
    how += ["with figures of whole videos"] if judge else []
    if truth is not None and judge is None:
        raise DataError(f"truth {truth}: nobody compares the videos with it; give a judge")
    true = _should_be(truth, [ask.id for ask in asks])
    tasks = [_task(i, ask, how, found[ask.id], true.get(ask.id)) for i, ask in enumerate(asks)]
    shards = target / "rows"
    shards.mkdir(parents=True, exist_ok=True)
    with alone(shards, target):
        remove_halves(target, shards, target / "videos")
        for path in shards.glob("part-*.jsonl"):
            if int(path.stem.removeprefix("part-")) >= len(tasks):
                path.unlink()
        watchers = _Watchers(make, judge)
        _run(tasks, shards, watchers, tracker, workers, progress)
        whole: list[list[Row]] = []
        sets = truths.Sets()
        for task in tasks:
            if not (part := read_shard(_place(shards, task), task.fingerprint)):
                raise AlchemintError(f"{shards}: was changed meanwhile; run it again")
            sets.take(part[0])
            whole.append(part)
        rows = [row for part in whole for row in part[1:]]
        report = {
            "settings": {
                "model": Path(folder).name,
                "videos": str(folder),
                "benchmark": benchmark,
                **settings,
                **({} if truth is None else {"truth": str(truth)}),
                "t_l2": scores.T_L2,
                "missing": sum(part[0]["status"] != "ok" for part in whole),
            },
            "others": others,
            **scores.summarised(rows, scores.measures(tracker), tracker.notes),
            **(of_whole := of_videos([part[0] for part in whole])),
            **sets.part(),
        }
        report["less_is_better"] = less_is_better(report["less_is_better"], of_whole)
        scenes = [_scene(ask, part[0]) for ask, part in zip(asks, whole, strict=True)]
        save_report(report, Shown([task.paths for task in tasks]), scenes, target)
    kept = ("rows", "measures", "notes", "videos", "video_measures", "less_is_better")
    return {key: value for key, value in report.items() if key not in kept}


def _should_be(folder: str | os.PathLike[str] | None, names: Sequence[str]) -> dict[str, Path]:
    """What the video of each case should be, where that is known."""
    if folder is None:
        return {}
    return truths.chosen(folder, find_videos(folder, names, "--truth")[0], names)


def _task(
    number: int, ask: Ask, how: list[Any], paths: Sequence[Path], truth: Path | None
) -> _Task:
    depends = [how, ask.content(), _contents(paths)]
    if truth is not None:
        depends.append(_contents([truth]))
    return _Task(number, ask, (*paths,), digest(depends), truth)


def _contents(paths: Sequence[Path]) -> list[list[str]]:
    return [[path.name, contents(path)] for path in paths]


def _place(shards: Path, task: _Task) -> Path:
    return shards / f"part-{task.number:05d}.jsonl"


def _scene(ask: Ask, video: Row) -> Any:
    return ask.scene(video["fps"], video["frames"]) if video["status"] == "ok" else ask.scene()


@dataclasses.dataclass(frozen=True)
class _Watchers:
    """Makes who watches, in each process."""

    tracker: Make
    judges: Callable[[], Any] | None

    def judge(self) -> Any:
        return None if self.judges is None else self.judges()


def _run(
    tasks: Sequence[_Task],
    shards: Path,
    watchers: _Watchers,
    tracker: Tracker,
    workers: int,
    show: bool,
) -> None:
    """Watches what has not been watched yet."""
    left = [t for t in tasks if read_shard(_place(shards, t), t.fingerprint) is None]
    done = len(tasks) - len(left)
    with Progress(len(tasks), "scoring", start=done, quiet=not show) as bar:
        bar.update(done)
        if not workers:
            judges = watchers.judge() if left else None
            for task in left:
                _watch(task, shards, tracker, judges)
                done += 1
                bar.update(done)
            return
        tries = 0
        workers = min(workers, len(left))
        while left:
            tries += 1
            again: list[_Task] = []
            for kind, task, value in pool.run_tasks(
                _start, (shards, watchers, workers), left, workers
            ):
                if kind == pool.RAISED:
                    raise value
                if kind == pool.DIED and tries < _TRIES:
                    again.append(task)
                    continue
                if kind == pool.DIED:
                    reason = f"its process died ({exit_status(value)})"
                    _write(task, shards, _lost(task, tracker, reason))
                done += 1
                bar.update(done)
            left = again


def _start(shards: Path, watchers: _Watchers, workers: int) -> Callable[[_Task, Any], None]:
    """In a new process: what watches a video."""
    work_beside(workers)
    tracker, judges = watchers.tracker(), watchers.judge()
    if "jax" in sys.modules:  # what was loaded runs on it
        prepare_jax()
    return lambda task, tell: _watch(task, shards, tracker, judges)


def _watch(task: _Task, shards: Path, tracker: Tracker, judges: Any) -> None:
    """Measures one video, and keeps its rows: a line about the video, and one for each subject."""
    try:
        rows = list(_measured(task, tracker, judges))
    except DataError as error:
        rows = _lost(task, tracker, str(error))
    except MemoryError:
        rows = _lost(task, tracker, "there is not enough memory for it")
    _write(task, shards, rows)


def _write(task: _Task, shards: Path, rows: list[Row]) -> None:
    write_shard(_place(shards, task), task.fingerprint, plain(rows))


def _measured(task: _Task, tracker: Tracker, judges: Any) -> Iterator[Row]:
    if not task.paths:
        raise DataError(f"there is no {task.ask.id}.mp4")
    if len(task.paths) > 1:
        names = " and ".join(path.name for path in task.paths)
        raise DataError(f"it is there twice: {names}")
    clip = Clip(task.paths[0], getattr(tracker, "side", 0))
    case = task.ask.scene(clip.fps, len(clip))
    lacks = int(case.clock.frames) - len(clip)
    remarks = [f"the file {remark}" for remark in clip.remarks]
    if lacks:
        short = case.clock.second(lacks)
        remarks.append(f"it is {short:.2f} s shorter than asked; nobody is on screen there")
    rows = list(
        scores.measure(
            case, clip if getattr(tracker, "streams", False) else np.asarray(clip), tracker
        )
    )
    whole: Row = {}
    if judges is not None and not lacks:  # what should be in frames that it lacks is not known
        whole, more = truths.of_whole(clip, case, judges, task.truth)
        remarks += more
    yield {
        "case": task.ask.id,
        "video": task.paths[0].name,
        "status": "ok",
        "reason": None,
        "fps": clip.fps,
        "frames": len(clip),
        "size": list(clip.size),
        "seconds": Clock(clip.fps, len(clip), 1).duration,
        "asked_seconds": task.ask.duration,
        "remarks": remarks,
        **whole,
    }
    yield from rows


def _lost(task: _Task, tracker: Tracker, reason: str) -> list[Row]:
    """The rows of a video that is missing or broken."""
    about: Row = {
        "case": task.ask.id,
        "video": task.paths[0].name if task.paths else None,
        "status": "missing" if not task.paths else "broken",
        "reason": reason,
        **dict.fromkeys(("fps", "frames", "size", "seconds")),
        "asked_seconds": task.ask.duration,
        "remarks": [],
    }
    return [about, *scores.missing(task.ask.scene(), scores.measures(tracker), reason)]


class Shown(Sequence[Any]):
    """The videos as a report shows them, opened when they are looked at: files that browsers play,
    and others made small.
    """

    def __init__(self, paths: Sequence[Sequence[Path]]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        try:
            (path,) = self._paths[index]
            clip = Clip(path)
            whole = clip.plays and path.stat().st_size <= _WHOLE
            return clip if whole else np.asarray(Clip(path, _SHOWN))
        except (ValueError, OSError, DataError):
            return np.full((1, 96, 160, 3), 128, np.uint8)
