"""What a render is asked with: the board as it then was, and how to sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alchemint_jax.documents import describe
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.drafts import Draft, draft_of, number, whole

MAX_SEEDS = 16
_SAMPLING = ("seeds", "steps", "solver", "guidance", "gating", "scheme")
_FIELDS = ("board", "id", "tab", *_SAMPLING, "replaces")
_BRANCHES = ("text", "image", "both")
_SOLVERS = ("euler", "unipc")
SCHEMES = ("WeRope", "MidRope", "SincRope", "FittedRope", "NoInterval")
"""Those of `alchemint_jax.rotary`, which needs JAX."""


@dataclass(frozen=True)
class Ask:
    """One clip; what is None is the model's own.

    Attributes:
        board: a draft that is a storyboard.
        seed: of the noise.
        steps: of the solver.
        solver: its name.
        guidance: weights by branch; those that are not named are the model's own.
        gating: its strength; None is no gating.
        scheme: name of the interval scheme.
    """

    board: Draft
    seed: int
    steps: int | None
    solver: str | None
    guidance: Mapping[str, float]
    gating: float | None
    scheme: str | None = None


def asks_of(value: Mapping[str, Any]) -> list[Ask]:
    """A clip for each seed of a request, whose bounds are those of the command line.

    Raises:
        Refused: naming what is wrong.
    """
    for name in value:
        if name not in _FIELDS:
            raise Refused(f"{name[:50]!r} is no field of a render; known: {', '.join(_FIELDS)}")
    board = draft_of(value.get("board"))
    seeds = value.get("seeds")
    if not isinstance(seeds, list) or not 1 <= len(seeds) <= MAX_SEEDS:
        raise Refused(f"seeds: expected a list of 1 to {MAX_SEEDS} whole numbers")
    steps = value.get("steps")
    solver = _one_of(_SOLVERS, value.get("solver"), "solver")
    scheme = _one_of(SCHEMES, value.get("scheme"), "scheme")
    weights = value.get("guidance") or {}
    if not isinstance(weights, dict) or not {*weights} <= {*_BRANCHES}:
        raise Refused(f"guidance: expected weights of {', '.join(_BRANCHES)}")
    guidance = {name: _between(one, f"guidance: {name}", 100) for name, one in weights.items()}
    gating = value.get("gating")
    return [
        Ask(
            board,
            whole(seed, f"seeds[{i}]"),
            None if steps is None else whole(steps, "steps", 1, 1000),
            solver,
            guidance,
            None if gating is None else _between(gating, "gating", 1024),
            scheme,
        )
        for i, seed in enumerate(seeds)
    ]


def replaced_by(value: Mapping[str, Any]) -> list[str]:
    """The ids of the renders that those of a request replace.

    Raises:
        Refused: it is no list of text.
    """
    names = value.get("replaces") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused("replaces: expected a list of ids of renders")
    return names


def _one_of(known: tuple[str, ...], value: Any, where: str) -> str | None:
    if value is not None and value not in known:
        raise Refused(f"{where}: must be one of {', '.join(known)}, not {describe(value)}")
    return None if value is None else str(value)


def _between(value: Any, where: str, high: float | int) -> float:
    found = float(number(value, where))
    if not 0 <= found <= high:
        raise Refused(f"{where}: must be a number from 0 to {high}, not {found:g}")
    return found
