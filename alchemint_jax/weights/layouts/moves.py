"""How a tensor of another project's file becomes a parameter of ours, and back.

A layout of a network is a list of `Entry`: one for each foreign tensor. Layers that are stacked
here (`nn.scan`) are separate tensors there, so an entry may fill one row of a parameter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Move:
    """A rearrangement of axes and its inverse; values are never changed."""

    read: Callable[[np.ndarray], np.ndarray]
    """Their array to ours."""
    write: Callable[[np.ndarray], np.ndarray]
    """Our array to theirs."""


COPY = Move(lambda x: x, lambda x: x)
"""Biases, scales, embeddings, tables."""

LINEAR = Move(np.transpose, np.transpose)
"""torch's Linear weight [out, in] and our kernel [in, out]."""


def _channels_last(x: np.ndarray) -> np.ndarray:
    return np.transpose(x, (*range(2, x.ndim), 1, 0))


def _channels_first(x: np.ndarray) -> np.ndarray:
    return np.transpose(x, (x.ndim - 1, x.ndim - 2, *range(x.ndim - 2)))


CONV = Move(_channels_last, _channels_first)
"""torch's convolution weight [out, in, *kernel] and our kernel [*kernel, in, out]."""


def reshaped(ours: Sequence[int], theirs: Sequence[int]) -> Move:
    """The same values in the same order in another shape, a scale [c, 1, 1] for [c], say."""
    return Move(lambda x: x.reshape(ours), lambda x: x.reshape(theirs))


def patches(patch: tuple[int, ...], channels: int) -> Move:
    """A convolution [out, c, pt, ph, pw] whose stride is its kernel, and a Linear over patches.

    Our kernel is [pt ph pw c, out], rows in the order (time, row, column, channel); of pictures,
    without the time.
    """
    return Move(
        lambda x: _channels_last(x).reshape(-1, x.shape[0]),
        lambda x: _channels_first(x.reshape(*patch, channels, x.shape[-1])),
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """One foreign tensor.

    Attributes:
        name: of the tensor in the foreign file.
        path: of our parameter, keys joined with dots.
        move: between the two.
        layer: row of our stacked parameter that the tensor is; None where it is all of it.
    """

    name: str
    path: str
    move: Move = COPY
    layer: int | None = None

    def foreign_shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """The foreign tensor's shape, from that of our (stacked) parameter."""
        row = ours if self.layer is None else ours[1:]
        return self.move.write(np.broadcast_to(np.float32(0), row)).shape


def to_foreign(entry: Entry, ours: np.ndarray) -> np.ndarray:
    """The foreign tensor, from our (stacked) parameter; a view where the move allows."""
    return entry.move.write(ours if entry.layer is None else ours[entry.layer])
