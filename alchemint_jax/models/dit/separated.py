"""What cross-attention is told of events that are in the caption (see `ops.separable`).

Axes: b batch, t latent frames, n tokens, m caption tokens, s subjects, k heads, d head dim, e width
of the values, g groups, l layers.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alchemint_jax.models.dit.conditioning import repeat
from alchemint_jax.ops.attention import attention
from alchemint_jax.ops.bias import LowRankBias, widened
from alchemint_jax.ops.separable import Favours, separated_attention


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["favours", "layers"],
    meta_fields=["grid"],
)
@dataclasses.dataclass(frozen=True)
class Separated:
    """Tokens of the caption that gain or lose where subjects are, by what attention itself says.

    Attributes:
        favours: which tokens of the caption; a sample whose subjects have none is left alone.
        layers: 1 in layers where it holds, 0 in others [l]; None is all.
        grid: latent frames, rows and columns of the video's tokens; the network knows.
    """

    favours: Favours
    layers: Any = None
    grid: tuple[int, int, int] | None = None

    def repeated(self, times: int) -> Separated:
        """For a batch that is the same one so many times."""
        return dataclasses.replace(self, favours=repeat(self.favours, times))

    def without_captions(self, empty: Bool[Array, " b"]) -> Separated:
        """For a batch some of whose passes have no caption, and are left alone."""
        return self._where(~empty[:, None, None])

    def in_layer(self, strength: Float[Array, ""] | None) -> Separated:
        """For a layer of this strength, 1 or 0; None is 1."""
        return self if strength is None else self._where(strength != 0)

    def _where(self, there: jax.Array) -> Separated:
        subjects = jnp.where(there, self.favours.subjects, 0)
        return dataclasses.replace(self, favours=self.favours._replace(subjects=subjects))

    def attend(
        self,
        q: Float[Array, "b n k d"],
        k: Float[Array, "b m k d"],
        v: Float[Array, "b m k e"],
        raw: tuple[Float[Array, "b n k d"], Float[Array, "b m k d"]],
        groups: Float[Array, "#b m g"] | None,
        implementation: str,
        bias: LowRankBias | None,
    ) -> tuple[Float[Array, "b n k e"], Float[Array, "b n k g"] | None]:
        """As `attention`, and beside it what `observed_attention` has, where there are groups."""
        values, grid = v if groups is None else widened(v, groups), self.grid
        assert grid is not None

        def separated() -> jax.Array:
            return separated_attention(q, k, values, raw, self.favours, grid, bias)

        def plain() -> jax.Array:
            return attention(q, k, values, None, implementation, bias)

        y = jax.lax.cond(self.favours.subjects.any(), separated, plain)
        if groups is None:
            return y, None
        y, probabilities = jnp.split(y, [v.shape[3]], axis=3)
        return y, probabilities.astype(jnp.float32)
