"""What is to be rendered, what is, and what was: a folder for each, so that it survives a restart.

renders/ID/job.json says what was asked for, renders/ID/result/ appears whole when it is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemint_jax.errors import AlchemintError
from alchemint_jax.studio import workspace
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.asking import Ask
from alchemint_jax.studio.drafts import Draft
from alchemint_jax.studio.turns import Turns

MAX_WAITING = 256
MAX_KEPT = 2000
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
_FILE, RESULT, _RESULT_FILE = "job.json", "result", "result.json"
_GONE = "its files were removed"
_TOLD = ("number", "board", "created", "video", "same_as", "error", "state")


@dataclass
class Job:
    """A render.

    Attributes:
        id: its name, and that of its folder.
        number: of how many there were before it.
        board: the board that it is of.
        tab: who asked, for whom turns are kept fair.
        ask: what for.
        state: one of the five above.
        created: when, in seconds since 1970.
        video: the name of the video that it shows, if it is none of a model.
        same_as: the number of the earlier render whose clip it has; 0 where it has its own.
        error: why it failed, a sentence.
        done: steps done.
        total: steps in all; 0 where that is not known yet.
        began: when it began to run, on the monotonic clock.
        stepped: when `done` was last told, on that clock.
        result: what came of it.
        key: of what is to be rendered (see `sameness`); empty where nobody knows.
    """

    id: str
    number: int
    board: str
    tab: str
    ask: Ask
    state: str = QUEUED
    created: float = 0.0
    video: str = ""
    same_as: int = 0
    error: str = ""
    done: int = 0
    total: int = 0
    began: float = 0.0
    stepped: float = 0.0
    result: dict[str, Any] | None = None
    key: str = ""

    @property
    def left(self) -> float | None:
        """Seconds until its last step, as the steps so far went; None where nobody can say."""
        if self.state != RUNNING or not self.done:
            return None
        return (self.stepped - self.began) / self.done * (self.total - self.done)

    def summary(self) -> dict[str, Any]:
        """What the page is told of it."""
        names = ("id", *_TOLD, "done", "total")
        asked = dataclasses.asdict(self.ask)
        found = {name: getattr(self, name) for name in names}
        return {**found, "left": self.left, "ask": asked, "result": self.result}


class Jobs:
    """All jobs of a workspace. Lives in the loop of the server."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.waiting = Turns()
        self._jobs: dict[str, Job] = {}
        for path in sorted(folder.glob(f"*/{_FILE}")):
            if (job := _loaded(path)) is not None:
                self._jobs[job.id] = job
        last = max((job.number for job in self._jobs.values()), default=0)
        self._numbers = itertools.count(last + 1)
        for job in self.all():
            if job.state == QUEUED:
                self.waiting.add(job.tab, job.id)

    def all(self) -> list[Job]:
        """In the order in which they were asked for."""
        return sorted(self._jobs.values(), key=lambda job: job.number)

    def get(self, name: str) -> Job:
        """A job. Raises Refused if there is none."""
        if name not in self._jobs:
            raise Refused("there is no such render", 404)
        return self._jobs[name]

    def known(self, name: str) -> bool:
        """Whether it is there still."""
        return name in self._jobs

    def add(
        self, board: str, tab: str, asks: list[Ask], keys: list[str] | None = None
    ) -> list[Job]:
        """Jobs that wait from now on, or are done where the same was rendered before.

        Args:
            board: that they are of.
            tab: who asks.
            asks: what for.
            keys: of each, where they are known.

        Raises:
            Refused: too many wait already, or are kept.
        """
        if len(self.waiting) + len(asks) > MAX_WAITING:
            raise Refused(f"{len(self.waiting)} renders wait already; cancel some of them", 429)
        if len(self._jobs) + len(asks) > MAX_KEPT:
            raise Refused(f"{MAX_KEPT} renders are kept; delete some of them", 409)
        made = []
        for ask, key in zip(asks, keys or [""] * len(asks), strict=True):
            job = self._new(board, tab, ask)
            job.key = key
            self.save(job)
            self._jobs[job.id] = job
            if not self.reuse(job):
                self.waiting.add(tab, job.id)
            made.append(job)
        return made

    def reuse(self, job: Job) -> bool:
        """Ends a job with the clip of a render of the same key, if there is one.

        The files are linked, for none is changed once it is there: either render may be deleted.
        """
        if not job.key:
            return False
        keys = ((one, (one.result or {}).get("key")) for one in self.all() if one.state == DONE)
        found = next((one for one, key in keys if key == job.key), None)
        if found is None:
            return False
        source, half = self.folder / found.id / RESULT, self.folder / job.id / f".{RESULT}.partial"
        try:
            shutil.copytree(source, half, copy_function=_link)
            (half / _RESULT_FILE).stat()
            half.rename(half.with_name(RESULT))
        except OSError:  # as shutil's own errors are; then it is rendered
            shutil.rmtree(half, ignore_errors=True)
            return False
        job.same_as = found.same_as or found.number
        self.end(job, DONE)
        return True

    def _new(self, board: str, tab: str, ask: Ask, video: str = "") -> Job:
        job = Job(workspace.new_id(), next(self._numbers), board, tab, ask)
        job.created, job.video = time.time(), video
        (self.folder / job.id).mkdir()
        return job

    def adopt(self, board: str, draft: Draft, video: str) -> Job:
        """A job that nobody renders: it shows what a video was found to show."""
        job = self._new(board, "", Ask(draft, 0, None, None, {}, None), video)
        self._jobs[job.id] = job
        return job

    def next(self) -> Job | None:
        """Takes the job whose turn it is."""
        name = self.waiting.next()
        return None if name is None else self._jobs[name]

    def end(self, job: Job, state: str, error: str = "") -> None:
        """Says what became of a job."""
        self.waiting.remove(job.id)
        job.state, job.error = state, error
        if state == DONE:
            job.result = workspace.read_json(self.folder / job.id / RESULT / _RESULT_FILE)
            job.done = job.total
            if job.result is None:
                job.state, job.error = FAILED, _GONE
        with contextlib.suppress(AlchemintError, OSError):
            self.save(job)  # else its result says it after a restart, or it is rendered then

    def remove(self, job: Job) -> None:
        """Forgets a job that does not run, and deletes what came of it."""
        self.waiting.remove(job.id)
        del self._jobs[job.id]
        workspace.remove(self.folder / job.id)

    def save(self, job: Job) -> None:
        """Writes what has to survive."""
        kept = {name: getattr(job, name) for name in (*_TOLD, "tab")}
        kept["ask"] = dataclasses.asdict(job.ask)
        workspace.write_json(self.folder / job.id / _FILE, kept)

    def file(self, job: Job, name: str) -> Path:
        """A file of a result. Raises Refused if there is none."""
        path = self.folder / job.id / RESULT / name
        if job.state != DONE or not path.is_file():
            raise Refused("this render has no such file (yet)", 404)
        return path


def _loaded(path: Path) -> Job | None:
    """A job of earlier; None where the file is not ours."""
    said = workspace.read_json(path)
    try:
        job = Job(id=path.parent.name, **{**said, "ask": Ask(**said["ask"])})
    except (TypeError, KeyError):
        return None
    result = workspace.read_json(path.parent / RESULT / _RESULT_FILE)
    if result is not None:
        job.state, job.result = DONE, result
    elif job.video:  # which no model can render again
        job.state, job.error = FAILED, _GONE
    elif job.state in (RUNNING, DONE):  # it was interrupted: the same noise gives the same clip
        job.state = QUEUED
    return job


def _link(source: str, target: str) -> None:
    """The same file by another name, or a copy where the disk has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
