"""How a tensor of another project's file becomes a parameter of ours, and back.

A layout of a network is a list of `Entry`: one for each foreign tensor. Layers that are stacked
here (`nn.scan`) are separate tensors there, so an entry may fill one row of a parameter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from alchemint_jax.weights.tensors import Box, Piece, Tensor, extent, whole, within


@dataclasses.dataclass(frozen=True)
class Move:
    """Another order of axes, some of which are joined; values are never changed.

    Attributes:
        axes: of a number of their axes: for each axis of ours, those of theirs that it is made of,
            the slowest first.
        theirs: their sizes, where axes are joined; -1 where any size will do.
    """

    axes: Callable[[int], Sequence[tuple[int, ...]]]
    theirs: tuple[int, ...] = ()

    def read(self, x: np.ndarray) -> np.ndarray:
        """Their array to ours."""
        groups = self.axes(x.ndim)
        shape = [math.prod(x.shape[axis] for axis in group) for group in groups]
        return x.transpose(_joined(groups)).reshape(shape)

    def write(self, x: np.ndarray) -> np.ndarray:
        """Our array to theirs."""
        order = _joined(self.axes(len(self.theirs) or x.ndim))
        apart = x.reshape([self.theirs[axis] for axis in order]) if self.theirs else x
        return apart.transpose(np.argsort(order))

    def shape(self, ours: Sequence[int]) -> tuple[int, ...]:
        """The shape of their tensor, from that of ours."""
        return self.write(np.broadcast_to(np.float32(0), ours)).shape

    def source(self, box: Box, theirs: Sequence[int]) -> tuple[Box, Box]:
        """The box of their tensor that a box of ours comes from, and where ours is in it.

        Of axes that are joined only the one that counts is divided; of several all is needed.
        """
        found, inner = list(whole(theirs)), []
        for (start, stop), group in zip(box, self.axes(len(theirs)), strict=True):
            long = [axis for axis in group if theirs[axis] != 1] or [group[0]]
            if len(long) == 1:
                found[long[0]] = (start, stop)
                start, stop = 0, stop - start
            inner.append((start, stop))
        return tuple(found), tuple(inner)

    def ours(self, theirs: Tensor) -> Tensor:
        """Our tensor, of theirs."""
        return theirs if self is COPY else _Ours(self, theirs)

    def foreign(self, ours: Tensor) -> Tensor:
        """Their tensor, of ours, which is read whole where it is not stored in the same order."""
        return ours if self is COPY else _Theirs(self, ours)


class _Ours(Tensor):
    def __init__(self, move: Move, theirs: Tensor) -> None:
        groups = move.axes(len(theirs.shape))
        shape = tuple(math.prod(theirs.shape[axis] for axis in group) for group in groups)
        tile = tuple(
            theirs.tile[group[0]] if len(group) == 1 else n
            for group, n in zip(groups, shape, strict=True)
        )
        found = {axis: i for i, group in enumerate(groups) for axis in group}
        order = tuple(dict.fromkeys(found[axis] for axis in theirs.order))
        super().__init__(shape, theirs.dtype, tile, order)
        self.move, self.theirs = move, theirs

    def load(self, box: Box) -> np.ndarray:
        outer, inner = self.move.source(box, self.theirs.shape)
        return self.move.read(self.theirs.read(outer))[within(inner, whole(extent(inner)))]

    def pieces(self, box: Box) -> list[Piece]:
        return self.theirs.pieces_of(self.move.source(box, self.theirs.shape)[0])


class _Theirs(Tensor):
    def __init__(self, move: Move, ours: Tensor) -> None:
        shape = move.shape(ours.shape)
        super().__init__(shape, ours.dtype, shape)
        self.move, self.ours = move, ours

    def load(self, box: Box) -> np.ndarray:
        return self.move.write(self.ours.read())[within(box, self.whole)]

    def pieces(self, box: Box) -> list[Piece]:
        return self.ours.pieces_of(self.ours.whole)


def _joined(groups: Sequence[tuple[int, ...]]) -> list[int]:
    return [axis for group in groups for axis in group]


COPY = Move(lambda n: [(axis,) for axis in range(n)])
"""Biases, scales, embeddings, tables."""

LINEAR = Move(lambda n: [(axis,) for axis in reversed(range(n))])
"""torch's Linear weight [out, in] and our kernel [in, out]."""

CONV = Move(lambda n: [(axis,) for axis in (*range(2, n), 1, 0)])
"""torch's convolution weight [out, in, *kernel] and our kernel [*kernel, in, out]."""


def reshaped(ours: Sequence[int], theirs: Sequence[int]) -> Move:
    """The same values in the same order in a shape with more axes: a scale [c, 1, 1] for [c], say.

    Raises:
        ValueError: theirs cannot be joined to ours.
    """
    groups: list[tuple[int, ...]] = [()]
    for axis in range(len(theirs)):
        held = math.prod(theirs[a] for a in groups[-1])
        if groups[-1] and held == ours[len(groups) - 1] and len(groups) < len(ours):
            groups.append(())
        groups[-1] += (axis,)
    if [math.prod(theirs[a] for a in group) for group in groups] != list(ours):
        raise ValueError(f"axes {list(theirs)} cannot be joined to {list(ours)}")
    return Move(lambda n: groups, tuple(theirs))


def patches(patch: tuple[int, ...], channels: int) -> Move:
    """A convolution [out, c, pt, ph, pw] whose stride is its kernel, and a Linear over patches.

    Our kernel is [pt ph pw c, out], rows in the order (time, row, column, channel); of pictures,
    without the time.
    """
    return Move(lambda n: [(*range(2, n), 1), (0,)], (-1, channels, *patch))


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
        return self.move.shape(ours if self.layer is None else ours[1:])


def to_foreign(entry: Entry, ours: np.ndarray) -> np.ndarray:
    """The foreign tensor, from our (stacked) parameter; a view where the move allows."""
    return entry.move.write(ours if entry.layer is None else ours[entry.layer])
