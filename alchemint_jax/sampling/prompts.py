"""The texts that a model reads of a batch: of each scene one, or several that are timed.

Axes: b batch, r texts of a scene, n texts of all scenes, s words, l tokens of one text, m tokens of
a scene, d width.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from alchemint_jax.sampling.texts import Texts
from alchemint_jax.wording import occurrences


def whole_text(caption: str, event: str) -> str:
    """What is read while an event lasts: the caption and the event.

    An event that has the caption in its words is a whole text by itself.
    """
    return event if occurrences(event, caption) else f"{caption} {event}"


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Texts of scenes, and where their tokens are in what the transformer reads.

    Several texts of a scene are encoded one by one, so that none says what is in another, and their
    tokens then follow one another, with padding after the last. They may need a multiple of the
    usual length. A single text is then repeated: attention gives copies what it gives one.

    Attributes:
        texts: how the model reads.
        rows: the texts of each scene.
        length: tokens that the model reads of one text.
        least: how many times that length there is room for, at the least.
    """

    texts: Texts
    rows: tuple[tuple[str, ...], ...]
    length: int
    least: int = 1

    @functools.cached_property
    def sizes(self) -> Int[np.ndarray, " n"]:
        """How many tokens each text has, its end included."""
        tokenizer = dataclasses.replace(self.texts.tokenizer, length=self.length)
        return tokenizer.encode(self.flat)[1].sum(1)

    @functools.cached_property
    def places(self) -> Int[np.ndarray, "b m"]:
        """Of each token, its place in the texts of all scenes [n l]; of padding -1."""
        firsts = np.cumsum([0, *map(len, self.rows)])
        starts = [range(a, b) for a, b in itertools.pairwise(firsts)]
        needed = [self.sizes[own].sum() for own in starts if len(own) > 1]
        copies = max([self.least, *(-(-int(size) // self.length) for size in needed)])
        places = np.full((len(self.rows), copies * self.length), -1)
        for row, own in zip(places, starts, strict=True):
            if len(own) == 1:
                row[:] = np.tile(own[0] * self.length + np.arange(self.length), copies)
            else:
                parts = [n * self.length + np.arange(self.sizes[n]) for n in own]
                row[: sum(map(len, parts))] = np.concatenate(parts)
        return places

    @property
    def copies(self) -> int:
        """How many times as long as one text all texts of a scene are."""
        return self.places.shape[1] // self.length

    def laid(self, states: Float[Array, "n l d"]) -> Float[Array, "b m d"]:
        """States of the texts of all scenes, in their places; zero where padded."""
        if len(states) == len(self.rows) and self.copies == 1:
            return states
        found = states.reshape(-1, states.shape[2])[self.places]
        return jnp.where(jax.device_put(self.places)[..., None] < 0, 0, found)

    def words(self, words: Sequence[Sequence[str]], slots: int) -> Bool[np.ndarray, "b s m"]:
        """Which tokens of each scene are of each of its words, in all of its texts."""
        own = [row for row, texts in zip(words, self.rows, strict=True) for _ in texts]
        found = self.texts.words(self.flat, own, slots, self.length)
        there = np.moveaxis(found, 1, 2).reshape(self.length * len(own), slots)[self.places]
        return np.moveaxis(there & (self.places >= 0)[..., None], 2, 1)

    def members(self, most: int) -> Bool[np.ndarray, "b r m"]:
        """Which tokens are of each of the texts of a scene; `most` texts in a scene."""
        firsts = np.cumsum([0, *map(len, self.rows)])[:-1]
        numbers = np.where(self.places < 0, -1, self.places // self.length - firsts[:, None])
        return numbers[:, None] == np.arange(most)[:, None]

    def padding(self, most: int) -> Float[np.ndarray, "b r"]:
        """How many tokens of padding each text has where it is alone; `most` texts in a scene."""
        found = np.zeros((len(self.rows), most), np.float32)
        sizes = iter(self.sizes)
        for row, own in zip(found, self.rows, strict=True):
            row[: len(own)] = [self.length - next(sizes) for _ in own]
        return found

    @property
    def flat(self) -> list[str]:
        """The texts of all scenes."""
        return [text for row in self.rows for text in row]
