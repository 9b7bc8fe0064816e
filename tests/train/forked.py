"""Processes for runs that are stopped or killed, forked off one that has imported what they need.

Python, JAX and Orbax take seconds of a core to start, and tests start them by the dozen. No device
is in use when the fork happens; all that a run does, its process does itself.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest import mock

PRELOADED = ["host_job", "orbax.checkpoint", "alchemint_jax.train", "alchemint_jax.train.hosts"]


@functools.cache
def context() -> ForkServerContext:
    """The server is a process that starts with the first of these and ends with this one."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOADED)
    return found


class Forked:
    """A process that runs a function; what it says goes to files. Used as one of `subprocess`."""

    def __init__(
        self, run: Callable[..., None], *arguments: Any, said: Path, **environment: str
    ) -> None:
        said.parent.mkdir(parents=True, exist_ok=True)
        self._said = said
        for path in (self._file("out"), self._file("err")):
            path.write_text("")
        call = (os.environ | environment, said, run, arguments)
        self._process = context().Process(target=_begin, args=call, daemon=True)
        # The server, if it starts now, finds what it imports where this process does.
        path = os.pathsep.join(filter(None, sys.path))
        with mock.patch.dict(os.environ, PYTHONPATH=path):
            self._process.start()
        self.pid = self._process.pid

    def _file(self, kind: str) -> Path:
        return self._said.with_name(f"{self._said.name}.{kind}")

    @property
    def out(self) -> str:
        return self._file("out").read_text()

    @property
    def err(self) -> str:
        return self._file("err").read_text(errors="replace")

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None and self.pid is not None:
            os.kill(self.pid, number)


def _begin(
    environment: Mapping[str, str], said: Path, run: Callable[..., None], arguments: tuple
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for kind, descriptor in (("out", 1), ("err", 2)):
        file = os.open(said.with_name(f"{said.name}.{kind}"), os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_disable_most_optimizations", True)  # it starts sooner
    run(*arguments)
