"""Processes that each do one task at a time; one that dies takes no other, and is replaced.

A pool of the standard library is broken as a whole when one of its processes dies, and does not say
which task killed it. Decoders of damaged files do kill processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

Tell = Callable[[Any], None]
Start = Callable[..., Callable[[Any, Tell], Any]]
"""Makes, in a new process, the function that does tasks; it may tell things meanwhile."""

# How glibc keeps memory (2.35 and later; others ignore it), as in launch/env_cpu.sh: networks take
# their buffers again with each frame, and pages that went back meanwhile are cleared one by one.
# And one arena: further threads would have heaps of 64 MiB, which go back when they are empty.
_MEMORY = (
    "glibc.malloc.arena_max=1",
    "glibc.malloc.hugetlb=1",
    "glibc.malloc.mmap_max=0",
    "glibc.malloc.trim_threshold=100000000000",
)
_TUNABLES = "GLIBC_TUNABLES"

DONE, TOLD, RAISED, DIED = "done", "told", "raised", "died"


def run_tasks(
    start: Start, arguments: tuple[Any, ...], tasks: Sequence[Any], workers: int
) -> Iterator[tuple[str, Any, Any]]:
    """Does tasks in so many processes, each begun by `start(*arguments)`.

    Yields:
        (DONE, task, result), (TOLD, task, what), (RAISED, task, exception) or (DIED, task, exit
        status), as they come. After DIED or RAISED the others go on.
    """
    context: Any = multiprocessing.get_context("spawn")  # JAX has threads, which forking loses
    pending = list(reversed(list(enumerate(tasks))))
    running: dict[Connection, tuple[Any, int | None]] = {}

    def begin() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, start, arguments), daemon=True)
        with _keeping_memory():
            process.start()
        theirs.close()
        running[ours] = (process, None)
        give(ours)

    def give(ours: Connection) -> None:
        process, _ = running[ours]
        if pending:
            number, task = pending.pop()
            running[ours] = (process, number)
            with contextlib.suppress(OSError):  # it died meanwhile: its end of the pipe says so
                ours.send(task)
        else:
            del running[ours]
            ours.close()
            process.join()

    try:
        for _ in range(min(workers, len(tasks))):
            begin()
        while running:
            for ours in wait(list(running)):
                assert isinstance(ours, Connection)
                process, number = running[ours]
                assert number is not None
                try:
                    kind, value = ours.recv()
                except (EOFError, OSError):
                    process.join()
                    del running[ours]
                    ours.close()
                    yield DIED, tasks[number], process.exitcode
                    if pending:
                        begin()
                    continue
                yield kind, tasks[number], value
                if kind != TOLD:
                    give(ours)
    finally:
        for ours, (process, _) in running.items():
            process.terminate()
            ours.close()
            process.join()


@contextlib.contextmanager
def _keeping_memory() -> Iterator[None]:
    """Processes that are started meanwhile keep their memory, unless somebody has other wishes."""
    before = os.environ.get(_TUNABLES)
    given = before.split(":") if before else []
    names = {one.partition("=")[0] for one in given}
    os.environ[_TUNABLES] = ":".join(
        given + [one for one in _MEMORY if one.partition("=")[0] not in names]
    )
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TUNABLES]
        else:
            os.environ[_TUNABLES] = before


def _serve(connection: Connection, start: Start, arguments: tuple[Any, ...]) -> None:
    import signal

    # An interruption is for the process that people see; it then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = start(*arguments)
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = DONE, work(task, lambda what: connection.send((TOLD, what)))
        except Exception as error:
            answer = RAISED, error
        try:
            connection.send(answer)
        except OSError:
            return
