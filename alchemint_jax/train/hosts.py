"""The processes of one job: how they find each other, and how one that fails ends.

A job of several processes is one program: every step waits for all of them. So when one dies the
others cannot go on, and must end, for a scheduler to start them all again from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from alchemint_jax import sharding
from alchemint_jax.errors import AlchemintError, ConfigError

LOST = 1
"""Exit status of a process that ends because it lost another."""

# How errors read that come of another process: those of the coordination service begin with their
# status, those of collectives have the name of the library.
_SIGNS = re.compile(r"\A\s*(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|CANCELLED):|\b(Gloo|NCCL)\b")


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Where a process finds the others of its job.

    Attributes:
        coordinator: "host:port" of process 0. If it is None, JAX takes all three from the
            environment, which says so on TPUs and under SLURM.
        processes: how many there are.
        process: the number of this one, from 0.
        wait: seconds to wait for the others to come.
        heartbeat: seconds without a sign of life after which a process counts as dead.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    wait: int = 300
    heartbeat: int = 100

    def __post_init__(self) -> None:
        given = [x is not None for x in (self.coordinator, self.processes, self.process)]
        if any(given) and not all(given):
            raise ConfigError("coordinator, processes and process go together; give all or none")
        if self.coordinator is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"coordinator is {self.coordinator!r}; give HOST:PORT")
        if not 0 <= (self.process or 0) < (self.processes or 1):
            raise ConfigError(f"process {self.process} is not one of 0 to {self.processes} - 1")


@contextlib.contextmanager
def joined(hosts: Hosts | None) -> Iterator[None]:
    """Joins the other processes, before JAX looks for devices, and takes leave of them at the end.

    An error in here ends the process at once, having written what was wrong to standard error: an
    orderly end would wait for the others, which wait for this one. So do others that do not come.
    With None there are no others, and errors are raised as usual.

    Raises:
        ConfigError: the environment does not say where the others are.
    """
    if hosts is None:
        yield
        return
    # It would catch SIGTERM itself. `fit` does, and has all processes stop at the same step.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.processes,
            hosts.process,
            initialization_timeout=hosts.wait,
            heartbeat_timeout_seconds=hosts.heartbeat,
            # At the end the others wait for the first one to export.
            shutdown_timeout_seconds=3600,
        )
    except ValueError as error:
        raise ConfigError(
            f"the environment does not say where the other processes are ({error}); "
            "give --coordinator, --processes and --process"
        ) from error
    except jax.errors.JaxRuntimeError as error:
        where = hosts.coordinator or "the address that the environment gives"
        _end(
            ConfigError(
                f"not all processes of the job came to {where} within {hosts.wait} seconds "
                f"({_first_line(error)}); what they wrote last may say why"
            )
        )
    try:
        yield
    except BaseException as error:
        _end(error)
    jax.distributed.shutdown()


def to_host(tree: Any) -> Any:
    """NumPy copies of arrays, whole on every process; all must call it."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(tree, tiled=True)
    return jax.device_get(tree)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """For what one of several processes does by itself: a mesh that the others are not part of."""
    if jax.process_count() == 1:
        yield
        return
    with sharding.use_mesh(sharding.make_mesh(devices=jax.local_devices()[:1])):
        yield


def gathered(value: Any) -> list[Any]:
    """What each process gives, in the order of their numbers; all must call it.

    Args:
        value: anything that JSON can hold, NaN too. It should be small.
    """
    if jax.process_count() == 1:
        return [value]
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(len(data), np.int32))
    padded = np.pad(data, (0, int(sizes.max()) - len(data)))
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(row[: int(size)].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def lost(error: BaseException) -> bool:
    """Whether an error says that another process has ended or cannot be reached."""
    ours = isinstance(error, AlchemintError)
    # JAX raises a ValueError too, where an array is read that a collective was to give.
    known = isinstance(error, RuntimeError | ValueError) and not ours
    return known and bool(_SIGNS.search(str(error)))


def _end(error: BaseException) -> NoReturn:
    """Ends this process as `alchemint` would for an error, but without waiting for anybody."""
    if lost(error):
        status = LOST
        _say(
            "another process of this job has ended or cannot be reached, so this one ends too; "
            "what the other wrote last says why. The same command on all hosts goes on from the "
            f"last checkpoint ({_first_line(error)})"
        )
    elif isinstance(error, AlchemintError | OSError):
        status = 2
        _say(str(error))
    elif isinstance(error, KeyboardInterrupt):
        status = 130
        print("alchemint: interrupted", file=sys.stderr)
    elif isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        status = 1
        traceback.print_exception(error)
    for child in multiprocessing.active_children():  # they would wait for this process for ever
        child.kill()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _say(message: str) -> None:
    print(f"alchemint: error: {message}", file=sys.stderr)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
