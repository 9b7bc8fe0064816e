"""Jit for tests: XLA takes half the time to compile for the CPU, and what it makes is slower."""

from __future__ import annotations

import functools
from typing import Any

import jax


@functools.cache
def options() -> dict[str, Any]:
    """Compiler options, none where the backend or its version does not know them."""
    wanted = {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=wanted).lower().compile()
    except RuntimeError:
        return {}
    return wanted


def jit(f: Any, **arguments: Any) -> Any:
    return jax.jit(f, compiler_options=options(), **arguments)
