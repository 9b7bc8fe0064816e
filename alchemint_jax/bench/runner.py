"""Measuring cases, one after another, into one object of JSON's types."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from alchemint_jax.bench import hardware, memory, programs
from alchemint_jax.bench.cases import Case
from alchemint_jax.bench.measure import Side, alternate, compare, summary
from alchemint_jax.errors import ConfigError
from alchemint_jax.plan.flops import traced_flops


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """What is measured beside ours.

    Attributes:
        build: makes the other side of a case that it can do.
        packages: whose versions to state.
        release: gives back memory that is kept for later, once a case is done.
        name: of it, in the result.
        refuses: why it cannot do a case; None where it can.
        memory: what a call of the other side takes in a process of its own; ours is measured so,
            too. None where the sides' memory is counted apart in one process.
    """

    build: Callable[[Case], Side]
    packages: tuple[str, ...] = ()
    release: Callable[[], Any] = lambda: None
    name: str = "torch"
    refuses: Callable[[Case], str | None] = Case.no_counterpart
    memory: Callable[[Case], dict[str, Any]] | None = None


PACKAGES = ("jax", "jaxlib", "flax")


def run(
    cases: Sequence[Case],
    repeats: int,
    counterpart: Counterpart | None = None,
    say: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Measures every case.

    Args:
        cases: what to measure.
        repeats: calls that are timed, of each side.
        counterpart: the other side.
        say: is told what happens.

    Raises:
        ConfigError: a case does not fit the devices, or their memory.
    """
    packages = [*PACKAGES, *(counterpart.packages if counterpart else ())]
    found = {"machine": hardware.machine(jax.devices(), packages), "repeats": repeats}
    return found | {"cases": [measure(case, repeats, counterpart, say) for case in cases]}


def measure(
    case: Case,
    repeats: int,
    counterpart: Counterpart | None = None,
    say: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Measures one case; arguments and errors as of `run`."""
    try:
        return _measure(case, repeats, counterpart, say)
    except RuntimeError as error:  # of JAX and of PyTorch
        if not _no_memory(error):
            raise
        raise ConfigError(
            f"{case.name}: this does not fit into the memory of the device; try a smaller --batch, "
            "--config.model.remat=full, or less at once (--case, without --vs)"
        ) from error
    finally:
        gc.collect()  # the next case needs the memory
        if counterpart:
            counterpart.release()


def _no_memory(error: Exception) -> bool:
    """Whether JAX or PyTorch says that memory ran out."""
    return "RESOURCE_EXHAUSTED" in str(error) or type(error).__name__ == "OutOfMemoryError"


def _measure(
    case: Case, repeats: int, counterpart: Counterpart | None, say: Callable[[str], Any]
) -> dict[str, Any]:
    say(f"{case.name}: compiling")
    case = programs.settled(case)
    reason = counterpart.refuses(case) if counterpart else None
    theirs = counterpart if reason is None else None
    alone = {}
    if counterpart and counterpart.memory:  # first: it needs what the sides below would hold
        say(f"{case.name}: memory, in processes of their own")
        alone["ours"] = memory.ours(case)
        if theirs:
            alone[theirs.name] = counterpart.memory(case)
    program = programs.build(case)
    began = time.perf_counter()
    traced = program.trace()
    compiled = traced.lower().compile()
    compile_seconds = time.perf_counter() - began

    sides = {"ours": _ours(program, compiled)}
    if theirs:
        sides[theirs.name] = theirs.build(case)
    say(f"{case.name}: {repeats} calls of {' and '.join(sides)}")
    held = {name: side.memory(side.call) for name, side in sides.items()} | alone  # the first call
    for side in sides.values():  # and a second one: what is made once is made now
        side.call()
    times = alternate(sides, repeats)

    program_flops = traced_flops(traced.jaxpr.jaxpr)
    flops = case.model_flops or program_flops
    peak = hardware.peak_flops(program.devices, case.dtype) if case.model_flops else None
    records = {name: _record(case, flops, peak, times[name], held[name]) for name in sides}
    calls = hardware.custom_calls(compiled.as_text())
    records["ours"] |= {
        "compile_seconds": compile_seconds,
        "program_bytes": hardware.program_bytes(
            compiled.memory_analysis(), program.devices[0].platform
        ),
        "attention": None if case.of_vae else hardware.attention_kernel(calls),
        "custom_calls": calls,
    }
    found = {
        "name": case.name,
        "kind": case.kind,
        "what": case.describe(),
        "devices": len(program.devices),
        "units": case.units[0],
        "unit": case.units[1],
        "model_flops": flops,
        "program_flops": program_flops,
        **records,
    }
    if counterpart is None:
        return found
    name = counterpart.name
    if reason is not None:
        return found | {f"no_{name}": reason}
    return found | {f"ours_to_{name}": _compared(times, alone, name)}


def ungated() -> Counterpart:
    """The same work without its gating."""

    def build(case: Case) -> Side:
        program = programs.build(dataclasses.replace(case, gating=None))
        return _ours(program, program.trace().lower().compile())

    def refuses(case: Case) -> str | None:
        return "nothing is gated" if case.gating is None else None

    return Counterpart(build, name="ungated", refuses=refuses)


def _compared(
    times: dict[str, list[float]], alone: dict[str, dict[str, Any]], other: str
) -> dict[str, Any]:
    """Ours in units of the other's: the times and, of processes of their own, a call's memory."""
    found = compare(times["ours"], times[other])
    ours, theirs = (memory.of_call(alone[name]) if alone else None for name in ("ours", other))
    return found | ({"memory": ours / theirs} if ours is not None and theirs else {})


def _ours(program: programs.Program, compiled: Any) -> Side:
    first = program.devices[0]
    return Side(
        run=program.caller(compiled),
        wait=jax.block_until_ready,
        memory=lambda call: hardware.peak_memory(call, first),
    )


def _record(
    case: Case, flops: float, peak: float | None, times: list[float], memory: dict[str, Any]
) -> dict[str, Any]:
    """What times say of one side: rates are those of the median."""
    seconds = summary(times)
    median = seconds["median"]
    return {
        "seconds": seconds,
        "per_second": case.units[0] / median,
        "flops_per_second": flops / median,
        "mfu": flops / median / peak if peak else None,
        "memory": memory,
    }
