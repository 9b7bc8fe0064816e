"""Compiling a step for a target, and what the compiler then knows."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from typing import Any

import jax

from alchemint_jax.compilation import fresh_compilations
from alchemint_jax.plan.targets import GIB

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"
# What TPU's compiler says of a program that is too large, in its two ways. The first speaks of
# temporaries, but arguments and results are in its figure.
_TOO_LARGE = (
    re.compile(rf"HLO temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)"),
    re.compile(rf"Used {_SIZE} of {_SIZE} hbm"),
)


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
        refused = needed(str(error))
        if refused is None:
            raise
        peak, available = refused
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


def needed(message: str) -> tuple[float, float] | None:
    """Bytes that a refused program needs and those there are; None for other errors.

    Args:
        message: of the compiler.
    """
    if "RESOURCE_EXHAUSTED" in message:
        for pattern in _TOO_LARGE:
            if found := pattern.search(message):
                return _bytes(found[1], found[2]), _bytes(found[3], found[4])
    return None


def _bytes(number: str, unit: str) -> float:
    return float(number) * _UNITS[unit]


def shard_bytes(tree: Any) -> float:
    """Bytes that one device holds of a tree of sharded shapes."""
    total = 0.0
    for x in jax.tree.leaves(tree):
        shape = x.sharding.shard_shape(x.shape) if x.sharding is not None else x.shape
        total += math.prod(shape) * x.dtype.itemsize
    return total
