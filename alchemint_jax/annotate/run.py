"""A whole annotation: every shard through all stages, in processes of their own, and the end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax import media
from alchemint_jax.annotate import pack, pool, report
from alchemint_jax.annotate.cluster import run_on_ray
from alchemint_jax.annotate.engine import fail_shard, run_shard
from alchemint_jax.annotate.rows import Row, digest, read_shard
from alchemint_jax.annotate.settings import Settings
from alchemint_jax.annotate.sources import SIDECARS, contents, find_sources
from alchemint_jax.annotate.tools import Tools, all_stages
from alchemint_jax.compilation import work_beside
from alchemint_jax.errors import AlchemintError
from alchemint_jax.outputs import alone, remove_halves
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.progress import Progress

_TRIES = 2  # of a shard whose process died

Shard = tuple[int, str, list[Row]]
"""Its number, the fingerprint of what it begins with, and its rows."""


@dataclass(frozen=True)
class Summary:
    """What came of an annotation: numbers of videos and scenes, and where they are."""

    videos: int
    scenes: int
    kept: int
    failed: int
    dropped: int
    subjects: int
    seconds: float
    folder: Path


def annotate(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    workers: int = 1,
    perceivers: Perceivers | None = None,
    cluster: str | None = None,
) -> Summary:
    """Annotates a video, a folder of them, or a list, into a folder; goes on where it was stopped.

    Args:
        source: what `find_sources` takes.
        out: the folder: scenes.jsonl, report.html, dataset/ and what they are made of.
        settings: what is to be different from the defaults.
        workers: processes; 0 works in this one.
        perceivers: who looks at frames instead of those that the settings name; only in this
            process (`workers=0`).
        cluster: address of a Ray cluster whose machines work instead; see `cluster.run_on_ray`.

    Raises:
        AlchemintError: there is nothing to annotate, or the folder cannot be written. What goes
            wrong with a video is a line of scenes.jsonl.
    """
    settings = settings or Settings()
    if perceivers is not None and workers:
        raise AlchemintError("perceivers that are given work in this process: workers=0")
    folder = media.check_folder(out)
    base, rows = find_sources(source)
    folder.mkdir(parents=True, exist_ok=True)
    stages = folder / "stages"
    stages.mkdir(exist_ok=True)
    with alone(stages, folder):
        shards = _shards(base, rows, settings)
        _forget(stages, len(shards))
        names = [s.name for s in all_stages(settings, base, folder, Tools(settings))]
        with Progress(len(shards) * len(names), "annotating") as progress:
            if cluster is None:
                _run(base, folder, settings, shards, workers, perceivers, progress)
            else:
                _run_on_ray(base, folder, settings, shards, cluster, progress, len(names))
        found = [_rows(stages, name, len(shards)) for name in ("clips", "sheets")]
        pack.tidy(folder, found[0] + found[1])
        lines = pack.write_scenes(folder, found[1])
        with ThreadPoolExecutor(1) as beside:  # its pictures leave a core to the dataset
            page = beside.submit(report.write_report, folder, found[1], settings.pack.report)
            if settings.pack.dataset:
                pack.write_dataset(folder, lines, settings.pack)
            page.result()
    return _summary(len(rows), found[1], folder)


def _shards(base: Path, rows: Sequence[Row], settings: Settings) -> list[Shard]:
    size = max(1, settings.ingest.shard)
    parts = [list(rows[i : i + size]) for i in range(0, len(rows), size)]
    return [
        (i, digest([[row, *_files(base / row["source"])] for row in part]), part)
        for i, part in enumerate(parts)
    ]


def _files(path: Path) -> list[str]:
    """What tells a video from another one, and what lies beside it."""
    return [contents(one) for one in (path, *(path.with_suffix(end) for end in SIDECARS))]


def _forget(stages: Path, count: int) -> None:
    """Removes shards beyond the last one: there were more videos once. And what was half done."""
    for path in stages.glob("*/part-*.jsonl"):
        if int(path.stem.removeprefix("part-")) >= count:
            path.unlink()
    remove_halves(stages.parent, *stages.glob("*/"))


def _run(
    base: Path,
    out: Path,
    settings: Settings,
    shards: Sequence[Shard],
    workers: int,
    perceivers: Perceivers | None,
    progress: Progress,
) -> None:
    done = 0

    def step(number: int, name: str) -> None:
        nonlocal done
        done = min(done + 1, progress.total)  # what is done again was counted
        progress.update(done, video=number + 1, stage=name)

    if not workers:
        tools = Tools(settings, perceivers)
        try:
            for shard in shards:
                _do(base, out, settings, tools, shard, lambda name, n=shard[0]: step(n, name))
        finally:
            tools.close()
        return
    left, tries = list(shards), 0
    workers = min(workers, len(shards))
    arguments = (base, out, settings, workers)
    while left:
        tries += 1
        again: list[Shard] = []
        for kind, shard, value in pool.run_tasks(_start, arguments, left, workers):
            if kind == pool.TOLD:
                step(shard[0], value)
            elif kind == pool.RAISED:
                raise value
            elif kind == pool.DIED and tries < _TRIES:
                again.append(shard)
            elif kind == pool.DIED:
                _give_up(base, out, settings, shard, f"its process died ({exit_status(value)})")
        left = again


def _run_on_ray(
    base: Path,
    out: Path,
    settings: Settings,
    shards: Sequence[Shard],
    address: str,
    progress: Progress,
    stages: int,
) -> None:
    arguments = (base.resolve(), out.resolve(), settings, 2)
    found = run_on_ray(_start, arguments, shards, address)
    for done, (shard, error) in enumerate(found, 1):
        if error is not None:
            _give_up(base, out, settings, shard, f"its process died ({type(error).__name__})")
        progress.update(done * stages, video=shard[0] + 1)


def exit_status(code: int) -> str:
    """What is said of a process that died."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"signal {-code}"


def _start(base: Path, out: Path, settings: Settings, workers: int) -> Any:
    """In a new process: what takes a shard through all stages."""
    work_beside(workers)
    tools = Tools(settings)
    return lambda shard, tell: _do(base, out, settings, tools, shard, tell)


def _do(
    base: Path,
    out: Path,
    settings: Settings,
    tools: Tools,
    shard: Shard,
    tell: Any = lambda name: None,
) -> None:
    stages = all_stages(settings, base, out, tools)
    run_shard(stages, out / "stages", shard[0], (shard[1], shard[2]), tell)


def _give_up(base: Path, out: Path, settings: Settings, shard: Shard, reason: str) -> None:
    """Rows with a reason where a shard kills whoever works on it."""
    stages = all_stages(settings, base, out, Tools(settings))
    fail_shard(stages, out / "stages", shard[0], (shard[1], shard[2]), reason)


def _rows(stages: Path, name: str, count: int) -> list[Row]:
    found: list[Row] = []
    for number in range(count):
        part = read_shard(stages / name / f"part-{number:05d}.jsonl")
        if part is None:
            raise AlchemintError(f"{stages / name}: shard {number} is missing; run it again")
        found += part
    return found


def _summary(videos: int, rows: Sequence[Row], folder: Path) -> Summary:
    kept = [row for row in rows if row["status"] == "ok"]
    return Summary(
        videos=videos,
        scenes=len(rows),
        kept=len(kept),
        failed=sum(row["status"] == "failed" for row in rows),
        dropped=sum(row["status"] == "dropped" for row in rows),
        subjects=sum(len(row["subjects"]) for row in kept),
        seconds=sum((pack.clock_of(row).duration for row in kept), 0.0),
        folder=folder,
    )
