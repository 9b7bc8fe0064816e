"""Compiling a step for a target, and what the compiler then knows."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax

from alchemint_jax.compilation import fresh_compilations, refused


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled step, per device.

    Attributes:
        peak: largest number of bytes in use at once, arguments and results among them.
        host: bytes kept in the host's memory.
        available: bytes the compiler says there are, where it refused the program.
        text: the program; empty where it was refused.
        flops: the compiler's own count, loops once; 0 where it has none.
        seconds: that compiling took.
    """

    peak: float
    host: float
    available: float | None
    text: str
    flops: float
    seconds: float


def compile_step(traced: Any) -> Program:
    """Compiles; a program too large for the target is a result too, not an error.

    Args:
        traced: of `jax.jit(...).trace`.
    """
    began = time.monotonic()
    try:
        with fresh_compilations():
            compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        found = refused(str(error))
        if found is None:
            raise
        peak, available = found
        return Program(peak, 0.0, available, "", 0.0, time.monotonic() - began)
    return read(compiled, time.monotonic() - began)


def read(compiled: Any, seconds: float = 0.0) -> Program:
    """What a compiled step says of itself."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return Program(
        peak=float(memory.peak_memory_in_bytes),
        host=float(memory.host_temp_size_in_bytes),
        available=None,
        text=compiled.as_text(),
        flops=float(cost.get("flops", 0.0)),
        seconds=seconds,
    )
