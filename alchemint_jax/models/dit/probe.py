"""A probe of attention: the probability that the video gives to subjects and to words.

Axes: l layers, b batch, k heads, t h w the grid of video tokens, n tokens, r reference slots, g
groups of caption tokens, m caption tokens.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from alchemint_jax.models.dit.sequence import SequenceLayout


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["words"],
    meta_fields=["layers", "subjects", "heads", "places"],
)
@dataclasses.dataclass(frozen=True)
class Probe:
    """What to look at. Layers that are not asked for are computed as the others are.

    Attributes:
        words: how much each caption token counts for each group [b g m], such as 1 / 2 for each of
            the two tokens of a word; None leaves the caption out.
        subjects: whether to look at the subjects.
        layers: which layers, counted from 0; None is all.
        heads: whether heads are kept apart; otherwise they are averaged.
        places: whether the places of a frame are kept apart; otherwise they are averaged.
    """

    words: Any = None
    subjects: bool = True
    layers: tuple[int, ...] | None = None
    heads: bool = False
    places: bool = True

    def averaged(
        self, probabilities: Float[Array, "b n k g"], sequence: SequenceLayout
    ) -> Float[Array, "b k2 t h2 w2 g"]:
        """The probabilities of the video's queries; axes that are averaged have size 1."""
        t, h, w = sequence.grid
        probabilities = probabilities[:, : sequence.video]
        split = "b (t h w) k g -> b k t h w g"
        probabilities = rearrange(probabilities, split, t=t, h=h, w=w)
        axes = (() if self.heads else (1,)) + (() if self.places else (3, 4))
        return probabilities.mean(axes, keepdims=True) if axes else probabilities

    def chosen(self, seen: Attended) -> Attended:
        """The layers that were asked for.

        Raises:
            ValueError: there is no such layer.
        """
        if self.layers is None:
            return seen
        rows = jnp.asarray(self.layers)

        def take(x: jax.Array) -> jax.Array:
            if not all(0 <= layer < len(x) for layer in self.layers or ()):
                raise ValueError(f"probe: layers is {self.layers}; the model has 0 to {len(x) - 1}")
            return x[rows]

        return jax.tree.map(take, seen)


class Attended(NamedTuple):
    """Probabilities of the video's queries, float32. Axes that were averaged have size 1.

    What remains to 1 in self-attention goes to the video itself.
    """

    references: jax.Array | None = None
    """Given to the picture of each subject [l b k t h w r]."""
    tags: jax.Array | None = None
    """Given to the word tag of each subject [l b k t h w r]; 0 in a model without tags."""
    words: jax.Array | None = None
    """Given to each group of caption tokens [l b k t h w g]."""
