"""Tensors that are not in memory yet, and of which any box can be read alone.

What is made of a tensor, by another order of its axes, say, is again one that is not in memory: it
knows which box of the first one each box of its own comes from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class Piece(NamedTuple):
    """A box of a tensor as a file stores it, and how many bytes there are in it."""

    file: Path
    name: str
    box: Box
    size: int


# Plain classes with methods: a checkpoint has thousands of tensors, and where types are checked
# while tests run, functions within functions and dataclasses are looked at whenever one is made.
class Tensor:
    """A tensor that is not in memory yet.

    Attributes:
        shape: of the whole.
        dtype: as it is stored, a key of `DTYPES`; others are refused before anything is read.
        tile: how much of each axis is best read at once: layers one by one where they are tensors
            of their own, as many rows of a file as fit into `PART`.
        order: the axes as they lie in the file, the slowest first; by default as they are.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        tile: tuple[int, ...],
        order: tuple[int, ...] | None = None,
    ) -> None:
        self.shape, self.dtype, self.tile = shape, dtype, tile
        self.order = tuple(range(len(shape))) if order is None else order

    def load(self, box: Box) -> np.ndarray:
        """An array of a box that is no larger than `tile`."""
        raise NotImplementedError

    def pieces(self, box: Box) -> list[Piece]:
        """What `load` reads of files for a box that is no larger than `tile`."""
        return []

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

    def pieces_of(self, box: Box) -> list[Piece]:
        """What `read` reads of files."""
        return [piece for tile in self.tiles(box) for piece in self.pieces(tile)]

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
    return _InMemory(array, dtype)


class _InMemory(Tensor):
    def __init__(self, array: Any, dtype: str) -> None:
        shape = tuple(array.shape)
        super().__init__(shape, dtype, rows_at_once(shape, dtype))
        self.array = array

    def load(self, box: Box) -> np.ndarray:
        if isinstance(self.array, jax.Array) and box != self.whole:
            # Compiled once for all boxes of a size. What an array of JAX's is asked for itself, it
            # keeps on the host for as long as it lives.
            starts = [start for start, _ in box]
            return np.asarray(jax.lax.dynamic_slice(self.array, starts, extent(box)))
        return np.asarray(np.asarray(self.array)[within(box, self.whole)])


class Stacked(Tensor):
    """Tensors of one shape as the rows of one; float32 where their dtypes differ."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        first = tensors[0]
        dtypes = {tensor.dtype for tensor in tensors}
        super().__init__(
            (len(tensors), *first.shape),
            dtypes.pop() if len(dtypes) == 1 else "F32",
            (1, *first.tile),
            (0, *(axis + 1 for axis in first.order)),
        )
        self.tensors = tensors

    def load(self, box: Box) -> np.ndarray:
        """A box of one of them."""
        return self.tensors[box[0][0]].load(box[1:])[None]

    def pieces(self, box: Box) -> list[Piece]:
        """What is read of one of them."""
        return self.tensors[box[0][0]].pieces(box[1:])


class Row(Tensor):
    """One row of a tensor along its first axis, without this axis."""

    def __init__(self, tensor: Tensor, index: int) -> None:
        order = tuple(axis - 1 for axis in tensor.order if axis)
        super().__init__(tensor.shape[1:], tensor.dtype, tensor.tile[1:], order)
        self.tensor, self.index = tensor, index

    def load(self, box: Box) -> np.ndarray:
        """A box of the row."""
        return self.tensor.load(self._outer(box))[0]

    def pieces(self, box: Box) -> list[Piece]:
        """What is read of the whole tensor."""
        return self.tensor.pieces(self._outer(box))

    def _outer(self, box: Box) -> Box:
        return ((self.index, self.index + 1), *box)
