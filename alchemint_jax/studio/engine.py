"""Who gives jobs to the worker, hears how far they are, and starts it again if it dies."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

from alchemint_jax.studio import jobs, worker
from alchemint_jax.studio.events import Hub
from alchemint_jax.studio.jobs import Job, Jobs

_DEATHS = 3  # of workers in a row that were never ready


@runtime_checkable
class Handle(Protocol):
    """A worker: a process, or in tests a thread."""

    def terminate(self) -> None:
        """Ends it at once."""

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end."""

    @property
    def exitcode(self) -> int | None:
        """How it ended."""


Launch = Callable[[], tuple[Connection, Handle]]
"""Starts a worker."""


def launcher(load: Callable[..., worker.Loaded], *arguments: Any) -> Launch:
    """Starts processes that load a model in this way."""

    def launch() -> tuple[Connection, Handle]:
        context: Any = multiprocessing.get_context("spawn")  # JAX has threads; forking loses them
        ours, theirs = context.Pipe()
        process = context.Process(
            target=worker.start, args=(theirs, load, *arguments), daemon=True, name="studio worker"
        )
        process.start()
        theirs.close()
        return ours, process

    return launch


class Engine:
    """Lives in the loop of the server; a thread listens to the worker.

    Attributes:
        about: what the worker told of its model; None until it is ready.
        identity: of that model, for `sameness.key_of`.
        failed: why there is no model, a sentence; empty while there may be one.
    """

    def __init__(self, jobs: Jobs, hub: Hub, launch: Launch, on_failure: Callable[[], None]):
        self.about: Any = None
        self.identity = ""
        self.failed = ""
        self._jobs, self._hub, self._launch, self._on_failure = jobs, hub, launch, on_failure
        self._running: Job | None = None
        self._ready, self._closing, self._deaths = False, False, 0
        self._connection: Connection | None = None
        self._handle: Handle | None = None

    # ----------------------------------------------------------------------------- the worker

    def start(self) -> None:
        """Starts a worker."""
        self._loop = asyncio.get_running_loop()
        self._ready = False
        self._connection, self._handle = self._launch()
        listener = threading.Thread(target=self._listen, args=(self._connection,), daemon=True)
        listener.start()

    async def stop(self) -> None:
        """Ends the worker; what it has not finished is done again the next time."""
        self._closing = True
        if self._connection is not None and self._handle is not None:
            self._handle.terminate()
            await asyncio.to_thread(self._handle.join, 10)
            self._connection.close()

    def _listen(self, connection: Connection) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            try:
                while True:
                    self._loop.call_soon_threadsafe(self._hear, *connection.recv())
            except (EOFError, OSError):
                self._loop.call_soon_threadsafe(self._lost)

    def _hear(self, kind: str, what: Any, *more: Any) -> None:
        match kind:
            case "ready":
                self.about, self.identity = what, more[0]
                self._ready, self._deaths = True, 0
                self._hub.tell("model", {})
                self._pump()
            case "failed":
                self._give_up(what)
            case _:
                self._hear_of_job(kind, what, more[0])

    def _lost(self) -> None:
        if self._closing or self.failed or self._handle is None:
            return
        ready, self._ready = self._ready, False
        self._handle.join(10)
        status = self._handle.exitcode
        if self._running is not None:
            how = f"the process that rendered it died (exit status {status})"
            self._end(jobs.FAILED, f"{how}; a smaller clip may need less memory")
        elif not ready:
            self._deaths += 1
        if self._deaths >= _DEATHS:
            self._give_up(f"the process that loads the model dies (exit status {status})")
        else:
            self.start()

    def _give_up(self, why: str) -> None:
        self.failed = why
        self._hub.tell("model", {})
        self._on_failure()

    # ------------------------------------------------------------------------------- the jobs

    def wake(self) -> None:
        """There may be something to do."""
        self._pump()

    def cancel(self, job: Job) -> None:
        """Has a job end, between two of its steps if it runs."""
        if job.state == jobs.QUEUED:
            self._jobs.end(job, jobs.CANCELLED)
            self._tell(job)
        elif job is self._running and self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(("cancel", job.id))

    def _pump(self) -> None:
        if not self._ready or self._running is not None or self._connection is None:
            return
        while (job := self._jobs.next()) is not None and self._jobs.reuse(job):
            self._tell(job)  # the same was asked for before, and is there by now
        if job is None:
            return
        self._running, job.state, job.began = job, jobs.RUNNING, time.monotonic()
        with contextlib.suppress(OSError):  # it died: its end of the pipe says so
            self._connection.send(("render", job.id, job.ask, self._jobs.folder / job.id))
        self._tell(job)

    def _hear_of_job(self, kind: str, name: str, what: Any) -> None:
        job = self._running
        if job is None or job.id != name:
            return
        match kind:
            case "step":
                job.done, job.total = what
                job.stepped = time.monotonic()
                self._tell(job)
            case "preview":
                self._hub.tell("preview", {"id": name, **what})
            case "done":
                self._end(jobs.DONE)
            case "cancelled":
                self._end(jobs.CANCELLED)
            case "error":
                self._end(jobs.FAILED, what)

    def _end(self, state: str, error: str = "") -> None:
        job, self._running = self._running, None
        assert job is not None
        self._jobs.end(job, state, error)
        self._tell(job)
        self._pump()

    def _tell(self, job: Job) -> None:
        self._hub.tell("job", job.summary())
        self._hub.tell("queue", self._jobs.waiting.order())
