"""Pure functions as one program each, wherever they are called.

Called on arrays, a function of dozens of small operations would be dozens of programs, and each of
them is compiled for every new shape. Within a larger program nothing changes: there its operations
stand as if it had been written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax

Function = TypeVar("Function", bound=Callable[..., Any])


def inlined(*static: str) -> Callable[[Function], Function]:
    """Decorates a function whose arguments of these names are no arrays, but part of its program.

    Args:
        static: names of arguments that can be hashed.
    """

    def decorate(function: Function) -> Function:
        return jax.jit(function, static_argnames=static, inline=True)  # type: ignore[return-value]

    return decorate
