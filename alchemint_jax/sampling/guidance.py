"""Four-branch guidance: nothing, the pictures, the text, or both.

`v = v0 + g_I (v_I - v0) + g_T (v_T - v0) + g_B (v_IT - v0)` (AlcheMinT section 3, "different CFG
values"). A branch without pictures keeps the subjects' intervals and with them all rotary gains,
and empties only their content; the paper reports artefacts otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from alchemint_jax.errors import ConfigError

Model = Callable[
    [Float[Array, " n *rest"], Bool[Array, " n"], Bool[Array, " n"]], Float[Array, " n *rest"]
]
"""Velocities of `(samples, with_text, with_images)`, for any number of copies of the batch."""

Guide = Callable[[Model, Float[Array, " b *rest"], Float[Array, ""]], Float[Array, " b *rest"]]
"""A guidance: the velocity to follow, of `(model, samples, time)`.

It is traced, once for each step. What of it changes without a new compilation are the leaves of a
pytree (`jax.tree_util.register_dataclass`, or `jax.tree_util.Partial` around a function).
"""


class Branch(NamedTuple):
    """One pass of the model."""

    with_text: bool
    with_images: bool


BRANCHES = {
    "null": Branch(False, False),
    "image": Branch(False, True),
    "text": Branch(True, False),
    "both": Branch(True, True),
}
"""By the names of their weights."""


@dataclasses.dataclass(frozen=True)
class Guidance:
    """Weights of the branches of guidance.

    `v = v0 + image (v_I - v0) + text (v_T - v0) + both (v_IT - v0)`, where v0 is the velocity with
    neither text nor pictures. A weight of 0 saves the pass. `Guidance(text=0, image=0, both=1)` is
    the conditional model, without guidance.

    Attributes:
        text: weight of the pass with the text alone.
        image: weight of the pass with the pictures alone.
        both: weight of the pass with both.
        interval: in which share of the steps, counted from the noise; the others are a pass of the
            conditional model alone.

    Raises:
        ConfigError: a weight is not a finite number, or the interval is none.

    Examples:
        >>> len(al.Guidance(both=3).branches()), len(al.Guidance(both=1).branches())  # passes
        (2, 1)
        >>> al.Guidance(both=3, interval=(0, 0.5)).guided(4).tolist()
        [True, True, False, False]

    Source:
        AlcheMinT, arXiv 2512.10943, section 3, "different CFG values"; the interval is that of
        Kynkäänniemi et al., arXiv 2404.07724.
    """

    text: float | int = 0.0
    image: float | int = 0.0
    both: float | int = 3.0
    interval: tuple[float | int, float | int] = (0.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("text", "image", "both"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"guidance: {name} is {getattr(self, name)}; use a finite number")
        if len(self.interval) != 2 or not 0 <= self.interval[0] < self.interval[1] <= 1:
            raise ConfigError(
                f"guidance: interval is {self.interval}; it must be two shares of the steps, "
                "0 <= start < end <= 1"
            )

    def branches(self) -> dict[Branch, float]:
        """The passes that are needed, with weights that sum to 1; zero weights are left out."""
        weights = {
            # Rounded: what decimal fractions leave of 1 in binary must not cost a pass.
            Branch(False, False): round(1 - self.text - self.image - self.both, 9),
            Branch(False, True): self.image,
            Branch(True, False): self.text,
            Branch(True, True): self.both,
        }
        return {branch: float(weight) for branch, weight in weights.items() if weight != 0}

    def guided(self, steps: int) -> Bool[np.ndarray, " steps"]:
        """Which of so many steps are guided: those whose middle lies in the interval."""
        middle = (np.arange(steps) + 0.5) / steps
        return (middle >= self.interval[0]) & (middle < self.interval[1])

    def function(self) -> WeightedBranches:
        """The guidance that these weights are, at every step."""
        branches = self.branches()
        return WeightedBranches(
            tuple(branches), jax.device_put(np.asarray(list(branches.values()), np.float32))
        )


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["branches"])
@dataclasses.dataclass(frozen=True)
class WeightedBranches:
    """A guidance (see `Guide`): `guided_velocity` with these weights, which are data."""

    branches: tuple[Branch, ...]
    weights: Any

    def __call__(
        self, model: Model, z: Float[Array, " b *rest"], time: Float[Array, ""]
    ) -> Float[Array, " b *rest"]:
        """The weighted sum of the branches, the same at any time."""
        return guided_velocity(model, z, self.branches, self.weights)


def guided_velocity(
    model: Model,
    z: Float[Array, " b *rest"],
    branches: tuple[Branch, ...],
    weights: Float[Array, " branches"],
) -> Float[Array, " b *rest"]:
    """The weighted sum of the branches, all computed in one pass over a larger batch.

    `model(z, with_text, with_images)` takes the branches stacked, branch-major, and a flag of
    each kind for every sample.
    """
    b = z.shape[0]
    stacked = jnp.tile(z, (len(branches),) + (1,) * (z.ndim - 1))
    with_text = jnp.repeat(jnp.asarray([branch.with_text for branch in branches]), b)
    with_images = jnp.repeat(jnp.asarray([branch.with_images for branch in branches]), b)
    v = model(stacked, with_text, with_images).reshape(len(branches), *z.shape)
    return jnp.sum(weights.reshape((-1,) + (1,) * z.ndim) * v, axis=0)
