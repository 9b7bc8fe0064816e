"""Tensors that are not in memory yet, and of which any box can be read alone.

What is made of a tensor, by another order of its axes, say, is again one that is not in memory: it
knows which box of the first one each box of its own comes from.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from alchemint_jax.errors import WeightsError

DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F64": np.dtype(np.float64),
}
PART = 64 * 2**20
"""Bytes of a tensor to hold at once, roughly."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

Box = tuple[tuple[int, int], ...]
"""A part of a tensor: first and last + 1 along each axis."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A box of a tensor as a file stores it, and how many bytes there are in it."""

    file: Path
    name: str
    box: Box
    size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor that is not in memory yet.

    Attributes:
        shape: of the whole.
        dtype: as it is stored, a key of `DTYPES`; others are refused before anything is read.
        load: an array of a box, which is no larger than `tile`.
        tile: how much of each axis is best read at once: layers one by one where they are tensors
            of their own, as many rows of a file as fit into `PART`.
        pieces: what is read of files for a box, which is no larger than `tile`.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[Box], np.ndarray]
    tile: tuple[int, ...]
    pieces: Callable[[Box], list[Piece]] = lambda box: []

    @property
    def whole(self) -> Box:
        """The box of everything."""
        return whole(self.shape)

    def tiles(self, box: Box) -> Iterator[Box]:
        """The boxes no larger than `tile` that make up a box, in the order of their rows."""
        axes = [
            [(i, min(i + step, stop)) for i in range(start, stop, max(step, 1))] or [(start, stop)]
            for (start, stop), step in zip(box, self.tile, strict=True)
        ]
        return itertools.product(*axes)

    def read(self, box: Box | None = None) -> np.ndarray:
        """An array of a box, by default of everything."""
        box = self.whole if box is None else box
        tiles = list(self.tiles(box))
        if len(tiles) == 1:
            return self.load(tiles[0])
        array = np.empty(extent(box), DTYPES[self.dtype])
        for tile in tiles:
            array[within(tile, box)] = self.load(tile)
        return array

    def rows(self) -> Iterator[np.ndarray]:
        """Arrays that make up the whole along its first axis, one after the other."""
        if not self.shape:
            yield self.read()
            return
        step = max(self.tile[0], 1)
        for start in range(0, self.shape[0], step):
            yield self.read(((start, min(start + step, self.shape[0])), *self.whole[1:]))


def whole(shape: Iterable[int]) -> Box:
    """The box of a whole tensor of this shape."""
    return tuple((0, n) for n in shape)


def extent(box: Box) -> tuple[int, ...]:
    """The shape of a box."""
    return tuple(stop - start for start, stop in box)


def within(inner: Box, outer: Box) -> tuple[slice, ...]:
    """Where a box is in the array of another one that holds it."""
    pairs = zip(inner, outer, strict=True)
    return tuple(slice(a - start, b - start) for (a, b), (start, _) in pairs)


def rows_at_once(shape: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """The tile of a tensor any rows of which can be read alone: those that fit into `PART`."""
    size = math.prod(shape) * DTYPES[dtype].itemsize if dtype in DTYPES else 0
    return (max(1, PART * shape[0] // size), *shape[1:]) if size > PART else shape


def size(tensor: Tensor, dtype: str | None = None) -> int:
    """Bytes of a tensor stored as `dtype`."""
    return math.prod(tensor.shape) * DTYPES[dtype or tensor.dtype].itemsize


def in_memory(array: Any) -> Tensor:
    """A JAX or NumPy array of floating point as a tensor; a JAX one is fetched when it is read.

    Raises:
        WeightsError: it is not floating point.
    """
    dtype = _NAMES.get(np.dtype(array.dtype))
    if dtype is None:
        raise WeightsError(f"is {array.dtype}; only floating point is stored")
    shape = tuple(array.shape)

    def load(box: Box) -> np.ndarray:
        if isinstance(array, jax.Array) and box != whole(shape):
            # Compiled once for all boxes of a size. What an array of JAX's is asked for itself, it
            # keeps on the host for as long as it lives.
            starts = [start for start, _ in box]
            return np.asarray(jax.lax.dynamic_slice(array, starts, extent(box)))
        return np.asarray(np.asarray(array)[within(box, whole(shape))])

    return Tensor(shape, dtype, load, rows_at_once(shape, dtype))


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as the rows of one; float32 where their dtypes differ."""
    dtypes = {row.dtype for row in rows}
    dtype = dtypes.pop() if len(dtypes) == 1 else "F32"

    def load(box: Box) -> np.ndarray:
        (i, _), *inner = box
        return rows[i].load(tuple(inner))[None]

    def pieces(box: Box) -> list[Piece]:
        (i, _), *inner = box
        return rows[i].pieces(tuple(inner))

    return Tensor((len(rows), *rows[0].shape), dtype, load, (1, *rows[0].tile), pieces)


def row_of(tensor: Tensor, index: int) -> Tensor:
    """One row of a tensor along its first axis, without this axis."""

    def outer(box: Box) -> Box:
        return ((index, index + 1), *box)

    return Tensor(
        tensor.shape[1:],
        tensor.dtype,
        lambda box: tensor.load(outer(box))[0],
        tensor.tile[1:],
        lambda box: tensor.pieces(outer(box)),
    )
