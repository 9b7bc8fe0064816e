"""From tensors in files to arrays on devices: each process reads what its own devices hold.

This is the one road for parameters, whoever asks for them; `store.read_params` goes it for a tree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.weights.finite import is_finite
from alchemint_jax.weights.tensors import DTYPES, PART, Box, Piece, Tensor, extent, size, within

_LONG = 2**16
"""Bytes that are worth to be read by themselves."""
_STRIP = 128
_ALIGNMENT = 64  # bytes: where an array must begin for the CPU backend to take it without a copy


def place(tensor: Tensor, leaf: jax.ShapeDtypeStruct, name: str = "a tensor") -> jax.Array:
    """A tensor with the dtype and the sharding of `leaf`, or on the default device.

    Of a sharded one each process reads and holds only as much as its devices do. Where the devices
    of a mesh are those of several processes, all of them have to place the same tensors in the same
    order, since they may exchange what they have read (see `read_as`).

    Raises:
        NonFiniteError: the values, of the tensor called `name` in errors, do not fit the dtype.
    """
    # Nobody else holds the arrays: where the device's memory is the host's they are handed over.
    if leaf.sharding is None:
        (array,) = read_boxes(tensor, [tensor.whole], leaf.dtype, name).values()
        return jax.device_put(array, may_alias=True)
    devices = leaf.sharding.addressable_devices
    return placed(tensor, leaf, read_as(tensor, leaf, devices), name)


def placed(
    tensor: Tensor, leaf: jax.ShapeDtypeStruct, way: jax.sharding.Sharding, name: str = "a tensor"
) -> jax.Array:
    """As `place`: read in one sharding, and brought to that of `leaf` if it is another one."""
    boxes = shards(tensor.shape, way, way.addressable_devices)
    arrays = read_boxes(tensor, boxes.values(), leaf.dtype, name)
    parts = [jax.device_put(arrays[box], device, may_alias=True) for device, box in boxes.items()]
    array = jax.make_array_from_single_device_arrays(tensor.shape, way, parts)
    return array if way == leaf.sharding else _exchanged(leaf.sharding)(array)


@functools.lru_cache(maxsize=64)
def _exchanged(way: jax.sharding.Sharding) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda array: array, out_shardings=way)


def read_as(
    tensor: Tensor, leaf: jax.ShapeDtypeStruct, devices: Iterable[Any]
) -> jax.sharding.Sharding:
    """The sharding in which processes read a tensor that is to have that of `leaf`.

    It is that of `leaf`, unless a large tensor would be read in short stretches: storage reads
    whole pages, and columns of a matrix cost it all rows. Then it is one of as many shards that
    are long stretches of the file, which the devices exchange afterwards.

    Args:
        tensor: what is read.
        leaf: what it is to become, with its sharding.
        devices: of this process. Where it has all there are, it reads everything anyway.
    """
    way = leaf.sharding
    if not isinstance(way, NamedSharding) or way.device_set <= set(devices):
        return way
    if size(tensor) <= PART or _stretch(tensor, way) >= _LONG:
        return way
    axes = tuple(jax.tree.leaves(tuple(way.spec)))
    parts = math.prod(way.mesh.shape[axis] for axis in axes)
    for axis in tensor.order:
        if tensor.shape[axis] % parts == 0:
            spec = [axes if i == axis else None for i in range(len(tensor.shape))]
            other = NamedSharding(way.mesh, PartitionSpec(*spec))
            if _stretch(tensor, other) > _stretch(tensor, way):
                return other
    return way


def _stretch(tensor: Tensor, way: jax.sharding.Sharding) -> int:
    """Bytes of a shard that lie in the file one after the other."""
    count, shape = 1, way.shard_shape(tensor.shape)
    for axis in reversed(tensor.order):
        count *= shape[axis]
        if shape[axis] < tensor.shape[axis]:
            break
    return count * DTYPES[tensor.dtype].itemsize


def shards(
    shape: tuple[int, ...], way: jax.sharding.Sharding, devices: Iterable[Any]
) -> dict[Any, Box]:
    """Which part of an array of this shape and sharding each of these devices holds."""
    parts = way.devices_indices_map(shape)
    return {
        device: tuple(part.indices(n)[:2] for part, n in zip(parts[device], shape, strict=True))
        for device in devices
    }


def read_boxes(
    tensor: Tensor, boxes: Iterable[Box], dtype: np.dtype | type, name: str
) -> dict[Box, np.ndarray]:
    """Distinct boxes of a tensor, each in an array of its own; what is in several is read once.

    Raises:
        NonFiniteError: the values, of the tensor called `name` in errors, do not fit the dtype.
    """
    dtype = np.dtype(dtype)
    arrays = {box: _aligned(extent(box), dtype) for box in boxes}
    for tile in _read_tiles(tensor, arrays):
        part = tensor.load(tile)
        for box, array in arrays.items():
            common = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, tile, strict=True))
            if all(start < stop for start, stop in common):
                # The dots make an array of what has no axes, too, and no number.
                there: tuple[Any, ...] = (..., *within(common, tile))
                here: tuple[Any, ...] = (..., *within(common, box))
                _copy(part[there], array[here])
    # What is read is finite; only where digits are lost it may not stay so.
    narrower = dtype.itemsize < DTYPES[tensor.dtype].itemsize
    if narrower and not all(map(is_finite, arrays.values())):
        raise NonFiniteError(f"{name} has values that {dtype} cannot hold; compute in float32")
    return arrays


def pieces_read(
    tensors: Mapping[str, Tensor],
    leaves: Mapping[str, jax.ShapeDtypeStruct],
    devices: Iterable[Any],
) -> Iterator[Piece]:
    """What a process with these devices reads of files for sharded leaves, before it does so.

    Args:
        tensors: by dotted path.
        leaves: by dotted path, each with its sharding.
        devices: those of the process.
    """
    devices = list(devices)
    for path, leaf in leaves.items():
        tensor = tensors[path]
        boxes = shards(tensor.shape, read_as(tensor, leaf, devices), devices).values()
        for tile in _read_tiles(tensor, boxes):
            yield from tensor.pieces(tile)


def _read_tiles(tensor: Tensor, boxes: Iterable[Box]) -> Iterator[Box]:
    """What is read at once, one after the other, to have all of these boxes."""
    for box in _joined(set(boxes)):
        yield from tensor.tiles(box)


def _joined(boxes: set[Box]) -> list[Box]:
    """As few boxes that hold the same, where some lie side by side: long stretches read faster."""
    found = list(boxes)
    for axis in range(len(found[0])):
        runs: list[Box] = []
        # Those that differ along this axis alone come one after the other.
        for box in sorted(found, key=lambda box: (_without(box, axis), box[axis])):
            last = runs[-1] if runs else None
            if (
                last
                and _without(last, axis) == _without(box, axis)
                and last[axis][1] == box[axis][0]
            ):
                runs[-1] = (*box[:axis], (last[axis][0], box[axis][1]), *box[axis + 1 :])
            else:
                runs.append(box)
        found = runs
    return found


def _without(box: Box, axis: int) -> Box:
    return (*box[:axis], *box[axis + 1 :])


def _copy(part: np.ndarray, into: np.ndarray) -> None:
    """Copies an array; what is transposed in strips, four times as fast as all at once."""
    if part.ndim < 2 or part.strides[-1] <= part.itemsize:
        into[...] = part
        return
    for start in range(0, part.shape[-1], _STRIP):
        into[..., start : start + _STRIP] = part[..., start : start + _STRIP]


def _aligned(shape: Iterable[int], dtype: np.dtype) -> np.ndarray:
    shape = tuple(shape)
    count = dtype.itemsize * math.prod(shape)
    raw = np.empty(count + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(shape)
