"""Which token of `[video | references | word tags]` belongs to which frame and which subject."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class SequenceLayout(NamedTuple):
    """The sizes of a sequence, all static.

    Attributes:
        grid: latent frames, rows and columns of the video's tokens.
        slots: of references.
        cells: tokens of one picture.
        tag: tokens of one word tag.
    """

    grid: tuple[int, int, int]
    slots: int = 0
    cells: int = 0
    tag: int = 0

    @property
    def video(self) -> int:
        """Number of the video's tokens, which are the first."""
        return math.prod(self.grid)

    @property
    def tokens(self) -> int:
        """Number of all tokens."""
        return self.video + self.slots * (self.cells + self.tag)

    def references(self) -> Float[np.ndarray, "n r"]:
        """1 where a token is of the picture of a subject."""
        return self._members(self.video, self.cells)

    def tags(self) -> Float[np.ndarray, "n r"]:
        """1 where a token is of the word tag of a subject."""
        return self._members(self.video + self.slots * self.cells, self.tag)

    def frames(self) -> Float[np.ndarray, "n t"]:
        """1 where a token is of a latent frame of the video."""
        t, h, w = self.grid
        rows = np.repeat(np.eye(t, dtype=np.float32), h * w, axis=0)
        return np.pad(rows, ((0, self.tokens - self.video), (0, 0)))

    def by_frame(self, rows: Float[Array, "b t r"]) -> Float[Array, "b n r"]:
        """Each video token has the row of its latent frame; other tokens have zeros."""
        video = jnp.repeat(rows, self.grid[1] * self.grid[2], axis=1)
        return jnp.pad(video, ((0, 0), (0, self.tokens - self.video), (0, 0)))

    def _members(self, start: int, each: int) -> Float[np.ndarray, "n r"]:
        rows = np.repeat(np.eye(self.slots, dtype=np.float32), each, axis=0)
        return np.pad(rows, ((start, self.tokens - start - len(rows)), (0, 0)))
