"""Memory of a call on a CPU, in a process that does nothing else.

Libraries keep what they have freed, and compilers leave much behind. The next call in such a
process takes of that, and the process does not grow: so much less the call seems to need.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax

from alchemint_jax.bench import hardware, programs
from alchemint_jax.bench.cases import Case


def alone(prepare: Callable[..., Callable[[], Any]], *args: Any) -> dict[str, Any]:
    """What the first call of something takes, in a new process.

    Args:
        prepare: makes the call, with all that it is given; a function of a module, by whose name
            the process finds it.
        args: of `prepare`, sent there.

    Returns:
        As `hardware.peak_memory`; `before` holds what `prepare` made, parameters and data.
    """
    return _in_process(_measured, prepare, *args)


def ours(case: Case) -> dict[str, Any]:
    """What a call of our program of a case takes; it is compiled by another process before."""
    with tempfile.TemporaryDirectory() as folder:
        given = case, folder, len(jax.local_devices())
        _in_process(_compile, *given)
        return alone(_program, *given)


def of_call(memory: dict[str, Any]) -> int | None:
    """Bytes of a call alone: none of what was there before it. None where that is not known."""
    if memory["before"] is None or memory["scope"] != "this call":
        return None
    return memory["bytes"] - memory["before"]


def _in_process(function: Callable[..., Any], *args: Any) -> Any:
    spawn: Any = multiprocessing.get_context("spawn")  # JAX has threads, which forking loses
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *args).result()


def _measured(prepare: Callable[..., Callable[[], Any]], *args: Any) -> dict[str, Any]:
    return hardware.peak_memory(prepare(*args))


def _compile(case: Case, folder: str, devices: int) -> None:
    _program(case, folder, devices)


def _program(case: Case, folder: str, devices: int) -> Callable[[], Any]:
    """A call of the program that `folder` keeps, compiled where it does not yet."""
    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    program = programs.build(case)
    run = program.caller(program.trace().lower().compile())
    return lambda: jax.block_until_ready(run())
