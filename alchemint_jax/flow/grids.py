"""Named grids: the noise levels a solver visits, and the times the model is told there.

Projects cut the same flow into steps differently, and Wan alone is run on three grids. At 50 steps
and shift 5 they differ by up to 0.004 in noise level and in half of the times, so results agree
only on the same grid. All are pure functions of (steps, shift, terminal), computed on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.flow.times import time_grid

FINALS = ("zero", "sigma_min")
"""Where a grid ends: "zero" is at the data, "sigma_min" is once more at its last level."""
# sqrt((1 - a) / a) of the largest and the smallest product a of 1 - beta, for the 1000 betas from
# 1e-4 to 0.02 that diffusers starts from; in float32, as it multiplies them.
_NOISIEST, _CLEANEST = 157.4072723388672, 0.010001329705119133


class Grid(NamedTuple):
    """The noise levels that a solver visits, and the times that the model is told there.

    Attributes:
        sigmas: noise levels, float32 `[steps + 1]`, falling to 0; 1 is pure noise.
        times: what the model is told at each level but the last, float32 `[steps]` in [0, 1]. It is
            the level itself unless the grid rounds it.

    Examples:
        >>> al.flow.make_grid("linear", steps=2, shift=1.0).sigmas.tolist()
        [1.0, 0.5, 0.0]

    Source:
        The schedulers that `GRIDS` names.
    """

    sigmas: Float[np.ndarray, " steps_plus_1"]
    times: Float[np.ndarray, " steps"]


def make_grid(
    name: str, steps: int, shift: float, terminal: float | None = None, final: str = "zero"
) -> Grid:
    """The grid of that name.

    Args:
        name: one of `GRIDS`.
        steps: how many, at least 1; at least 2 where there is a `terminal`.
        shift: how far levels move towards noise, see `shift_time`.
        terminal: the last level before the end: levels are stretched away from 1 to reach it.
        final: one of `FINALS`. With "sigma_min" the last step goes nowhere.

    Returns:
        Levels and times, computed on the host.

    Raises:
        ConfigError: there is no such grid or final, or there are too few steps.

    Examples:
        Wan's own grid tells the model whole thousandths:

        >>> grid = al.flow.make_grid("wan", steps=3, shift=5.0)
        >>> (1000 * grid.times).round(3).tolist()
        [999.0, 908.0, 713.0]

    Source:
        Wan2.1, arXiv 2503.20314; DiffSynth; the schedulers of diffusers.
    """
    if name not in GRIDS:
        raise ConfigError(f"no grid {name!r}; there are {', '.join(GRIDS)}")
    if final not in FINALS:
        raise ConfigError(f"no final {final!r}; there are {', '.join(FINALS)}")
    least = 1 if terminal is None else 2
    if steps < least:
        raise ConfigError(f"a grid of {steps} steps is too short; give at least {least}")
    grid = GRIDS[name](steps, shift, terminal)
    if final == "sigma_min":
        grid.sigmas[-1] = grid.sigmas[-2]
    return grid


def linear(steps: int, shift: float, terminal: float | None = None) -> Grid:
    """Equal steps from 1 to 0, shifted: `time_grid`, and DiffSynth's grid for Wan."""
    with jax.ensure_compile_time_eval():
        levels = np.asarray(time_grid(steps, shift))[:-1]
    return _exact(_stretched(levels, terminal))


def wan(steps: int, shift: float, terminal: float | None = None) -> Grid:
    """Wan2.1's own grid: equal steps from 0.999 to 0, shifted. Times are whole thousandths."""
    levels = _shifted(np.linspace(0.999, 0, steps + 1)[:-1], shift)
    return _whole_thousandths(_stretched(levels, terminal))


def diffusers_unipc(steps: int, shift: float, terminal: float | None = None) -> Grid:
    """The grid of `UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift)` in diffusers.

    Equal steps from 1 to 0.001, shifted; the last goes to 0 instead. The first is lowered by 1e-6,
    where its logarithm is finite. Times are whole thousandths.
    """
    levels = _stretched(_shifted(np.linspace(1, 0.001, steps + 1)[:-1], shift), terminal)
    levels[0] -= 1e-6
    return _whole_thousandths(levels)


def diffusers_unipc_karras(steps: int, shift: float, terminal: float | None = None) -> Grid:
    """The grid of the same scheduler with `use_karras_sigmas=True`.

    Karras et al.'s levels of a diffusion process, brought to the flow, where level s of the process
    is s / (s + 1). `shift` has no part in it.
    """
    del shift
    levels = _karras(_NOISIEST, _CLEANEST, steps)
    return _whole_thousandths(_stretched(levels / (levels + 1), terminal))


def diffusers_euler(steps: int, shift: float, terminal: float | None = None) -> Grid:
    """The grid of `FlowMatchEulerDiscreteScheduler(shift=shift)` in diffusers.

    Both ends of the range are shifted, `steps` levels laid evenly from one to the other and those
    shifted once more; then 0. Times are the levels, not rounded.
    """
    return _exact(_euler_levels(steps, shift, terminal))


def _between_ends_of_euler(
    levels: Callable[[float, float, int], np.ndarray],
) -> Callable[[int, float, float | None], Grid]:
    """A grid with other levels than `diffusers_euler` has, between the same two ends."""

    def grid(steps: int, shift: float, terminal: float | None = None) -> Grid:
        even = _euler_levels(steps, shift, terminal)
        return _exact(levels(even[0], even[-1], steps))

    return grid


def _euler_levels(steps: int, shift: float, terminal: float | None) -> np.ndarray:
    first, last = _shifted(np.array([1, 0.001], np.float32), shift)
    even = np.linspace(float(first), float(last), steps)
    return _stretched(_shifted(even, shift), terminal)


def _karras(first: float, last: float, steps: int) -> np.ndarray:
    """Even in the 7th root: Karras et al. 2022, arXiv 2206.00364, equation 5."""
    return np.linspace(first ** (1 / 7), last ** (1 / 7), steps) ** 7


def _exponential(first: float, last: float, steps: int) -> np.ndarray:
    """Even in the logarithm."""
    return np.exp(np.linspace(np.log(first), np.log(last), steps))


def _beta(first: float, last: float, steps: int) -> np.ndarray:
    """Even in probability under Beta(0.6, 0.6), dense at both ends: arXiv 2407.12173."""
    from scipy.special import betaincinv  # slow to import, and seldom needed

    return last + betaincinv(0.6, 0.6, np.linspace(1, 0, steps)) * (first - last)


GRIDS: dict[str, Callable[[int, float, float | None], Grid]] = {
    "linear": linear,
    "wan": wan,
    "diffusers-unipc": diffusers_unipc,
    "diffusers-unipc-karras": diffusers_unipc_karras,
    "diffusers-euler": diffusers_euler,
    "diffusers-euler-karras": _between_ends_of_euler(_karras),
    "diffusers-euler-exponential": _between_ends_of_euler(_exponential),
    "diffusers-euler-beta": _between_ends_of_euler(_beta),
}
"""The grids by name: each is a function of (steps, shift, terminal) that returns a `Grid`."""


def _shifted(levels: np.ndarray, shift: float) -> np.ndarray:
    """`shift_time` in the precision of `levels`."""
    return shift * levels / (1 + (shift - 1) * levels)


def _stretched(levels: np.ndarray, terminal: float | None) -> np.ndarray:
    """Distances from 1 in proportion, so that the last level is `terminal`."""
    if terminal is None:
        return levels
    return 1 - (1 - levels) * ((1 - terminal) / (1 - levels[-1]))


def _exact(levels: np.ndarray) -> Grid:
    """Times are the levels."""
    sigmas = np.append(levels, 0).astype(np.float32)
    return Grid(sigmas, sigmas[:-1].copy())


def _whole_thousandths(levels: np.ndarray) -> Grid:
    """The references keep times as int64 thousandths, cut off before levels become float32."""
    times = (levels * 1000).astype(np.int64) / 1000
    return Grid(np.append(levels, 0).astype(np.float32), times.astype(np.float32))
