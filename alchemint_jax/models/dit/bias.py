"""A bias of attention: who looks at whom, frame by frame.

Axes: b batch, t latent frames, r reference slots, m caption tokens, l layers.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from alchemint_jax.models.dit.between import Between
from alchemint_jax.models.dit.conditioning import repeat
from alchemint_jax.models.dit.separated import Separated
from alchemint_jax.models.dit.sequence import SequenceLayout
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.sharding import constrain


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["subjects", "frames", "words", "layers", "between", "separated", "nulls"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Bias:
    """What is added to the logits of attention; `ops.bias.HIDDEN` hides. None adds nothing.

    It is one table for all layers and heads: the research that it serves (timed gates of subjects
    and of prompts) has the same in each, or none in some, which `layers` says.

    Attributes:
        subjects: for queries of the video at each latent frame, on keys of each subject's picture
            and word tag [b t r].
        frames: the reverse: for queries of each subject's picture and word tag, on keys of the
            video at each latent frame [b r t]. A subject that is hidden from a frame, but reads the
            whole video, is still told of by other frames.
        words: for queries of the video at each latent frame, on each token of the caption [b t m].
        layers: what all of these are multiplied by in each layer [l].
        between: biases that depend on attention itself, and have layers of their own.
        separated: the same, of events that are in the caption.
        nulls: as `words`, on each token of the text that takes the place of the caption in passes
            without it [b t m].
    """

    subjects: Any = None
    frames: Any = None
    words: Any = None
    layers: Any = None
    between: Between | None = None
    separated: Separated | None = None
    nulls: Any = None

    def __add__(self, other: Bias) -> Bias:
        """Both at once. One of some layers can be added to one without tables only."""
        of_some = [one for one in (self, other) if one.layers is not None]
        if of_some and all(one._tables() for one in (self, other)):
            raise ValueError("biases of some layers cannot be added to others")
        for name in ("between", "separated"):
            if getattr(self, name) is not None and getattr(other, name) is not None:
                raise ValueError("two biases that depend on attention cannot be added")

        def both(a: Any, b: Any) -> Any:
            return b if a is None else a if b is None else a + b

        return Bias(
            both(self.subjects, other.subjects),
            both(self.frames, other.frames),
            both(self.words, other.words),
            of_some[0].layers if of_some else None,
            other.between if self.between is None else self.between,
            other.separated if self.separated is None else self.separated,
            both(self.nulls, other.nulls),
        )

    def _tables(self) -> list[jax.Array]:
        tables = (self.subjects, self.frames, self.words, self.nulls)
        return [table for table in tables if table is not None]

    def repeated(self, times: int) -> Bias:
        """For a batch that is the same one so many times."""
        tables = (self.subjects, self.frames, self.words, self.nulls)
        subjects, frames, words, nulls = repeat(tables, times)
        between = None if self.between is None else self.between.repeated(times)
        separated = None if self.separated is None else self.separated.repeated(times)
        return Bias(subjects, frames, words, self.layers, between, separated, nulls)

    def without_captions(self, empty: Bool[Array, " b"]) -> Bias:
        """For a batch some of whose captions were replaced by other texts, of other tokens."""
        words = self.words
        if words is not None:
            words = jnp.where(empty[:, None, None], 0 if self.nulls is None else self.nulls, words)
        between = None if self.between is None else self.between.without_captions(empty)
        separated = self.separated and self.separated.without_captions(empty)
        return dataclasses.replace(
            self, words=words, nulls=None, between=between, separated=separated
        )

    def of_sequence(self, sequence: SequenceLayout) -> LowRankBias | None:
        """The bias of self-attention: one channel for each subject and direction.

        Raises:
            ValueError: a table does not have the frames and slots of the sequence.
        """
        t, r = sequence.grid[0], sequence.slots
        members = jnp.asarray(sequence.references() + sequence.tags())[None]
        queries, keys = [], []
        if self.subjects is not None:
            _require("subjects", self.subjects, (t, r))
            queries.append(sequence.by_frame(self.subjects))
            keys.append(members)
        if self.frames is not None:
            _require("frames", self.frames, (r, t))
            queries.append(members)
            keys.append(sequence.by_frame(self.frames.swapaxes(1, 2)))
        return LowRankBias(_joined(queries), _joined(keys)) if queries else None

    def of_caption(self, sequence: SequenceLayout, tokens: int) -> LowRankBias | None:
        """The bias of attention to so many tokens of a caption: one channel for each frame.

        Raises:
            ValueError: the table does not have these frames and tokens.
        """
        if self.words is None:
            return None
        _require("words", self.words, (sequence.grid[0], tokens))
        queries = constrain(jnp.asarray(sequence.frames())[None], None, "tokens", None)
        return LowRankBias(queries, self.words.swapaxes(1, 2))


def _require(name: str, table: jax.Array, shape: tuple[int, int]) -> None:
    if table.ndim != 3 or table.shape[1:] != shape:
        raise ValueError(f"bias: {name} has the shape {table.shape}; it must be [b, *{shape}]")


def _joined(parts: list[jax.Array]) -> jax.Array:
    batch = max(len(part) for part in parts)
    parts = [jnp.broadcast_to(part, (batch, *part.shape[1:])) for part in parts]
    return constrain(jnp.concatenate(parts, axis=2), "batch", "tokens", None)
