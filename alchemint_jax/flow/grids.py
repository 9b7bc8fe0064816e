"""Named grids: the noise levels a solver visits, and the times the model is told there.

Projects cut the same flow into steps differently, and Wan alone is run on three grids. At 50 steps
and shift 5 they differ by up to 0.004 in noise level and in half of the times, so results agree
only on the same grid. All are pure functions of (steps, shift), computed on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from alchemint_jax.flow.times import time_grid


class Grid(NamedTuple):
    """Where a solver goes.

    Attributes:
        sigmas: noise levels, float32 [steps + 1], falling to 0; 1 is pure noise.
        times: what the model is told at each level but the last, float32 [steps] in [0, 1]. It is
            the level itself unless the grid rounds it.
    """

    sigmas: Float[np.ndarray, " steps_plus_1"]
    times: Float[np.ndarray, " steps"]


def linear(steps: int, shift: float) -> Grid:
    """Equal steps from 1 to 0, shifted: `time_grid`, and DiffSynth's grid for Wan."""
    with jax.ensure_compile_time_eval():
        sigmas = np.asarray(time_grid(steps, shift))
    return Grid(sigmas, sigmas[:-1])


def wan(steps: int, shift: float) -> Grid:
    """Wan2.1's own grid: equal steps from 0.999 to 0, shifted. Times are whole thousandths."""
    return _whole_thousandths(_shifted(np.linspace(0.999, 0, steps + 1)[:-1], shift))


def diffusers_unipc(steps: int, shift: float) -> Grid:
    """Of `UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift)` in diffusers.

    Equal steps from 1 to 0.001, shifted; the last goes to 0 instead. The first is lowered by 1e-6,
    where its logarithm is finite. Times are whole thousandths.
    """
    levels = _shifted(np.linspace(1, 0.001, steps + 1)[:-1], shift)
    levels[0] -= 1e-6
    return _whole_thousandths(levels)


def diffusers_euler(steps: int, shift: float) -> Grid:
    """Of `FlowMatchEulerDiscreteScheduler(shift=shift)` in diffusers.

    Both ends of the range are shifted, `steps` levels laid evenly from one to the other and those
    shifted once more; then 0. Times are the levels, not rounded.
    """
    first, last = _shifted(np.array([1, 0.001], np.float32), shift)
    levels = _shifted(np.linspace(float(first), float(last), steps), shift)
    sigmas = np.append(levels, 0).astype(np.float32)
    return Grid(sigmas, sigmas[:-1])


GRIDS: dict[str, Callable[[int, float], Grid]] = {
    "linear": linear,
    "wan": wan,
    "diffusers-unipc": diffusers_unipc,
    "diffusers-euler": diffusers_euler,
}
"""By the names that `Settings.grid` knows."""


def _shifted(levels: np.ndarray, shift: float) -> np.ndarray:
    """`shift_time` in the precision of `levels`."""
    return shift * levels / (1 + (shift - 1) * levels)


def _whole_thousandths(levels: np.ndarray) -> Grid:
    """The references keep times as int64 thousandths, cut off before levels become float32."""
    times = (levels * 1000).astype(np.int64) / 1000
    return Grid(np.append(levels, 0).astype(np.float32), times.astype(np.float32))
