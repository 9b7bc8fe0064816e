"""From tensors in files to arrays on devices: each process reads what its own devices hold.

This is the one road for parameters, whoever asks for them; `store.read_params` goes it for a tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.weights.finite import is_finite
from alchemint_jax.weights.tensors import DTYPES, Box, Piece, Tensor, extent, within

_ALIGNMENT = 64  # bytes: where an array must begin for the CPU backend to take it without a copy


def place(tensor: Tensor, leaf: jax.ShapeDtypeStruct, name: str = "a tensor") -> jax.Array:
    """A tensor with the dtype and the sharding of `leaf`, or on the default device.

    Of a sharded one only the parts of this process's devices are read and held. Every process may
    do it by itself: nothing is exchanged.

    Raises:
        NonFiniteError: the values, of the tensor called `name` in errors, do not fit the dtype.
    """
    # Nobody else holds the arrays: where the device's memory is the host's they are handed over.
    if leaf.sharding is None:
        (array,) = read_boxes(tensor, [tensor.whole], leaf.dtype, name).values()
        return jax.device_put(array, may_alias=True)
    boxes = shards(leaf, leaf.sharding.addressable_devices)
    arrays = read_boxes(tensor, boxes.values(), leaf.dtype, name)
    parts = [jax.device_put(arrays[box], device, may_alias=True) for device, box in boxes.items()]
    return jax.make_array_from_single_device_arrays(tensor.shape, leaf.sharding, parts)


def shards(leaf: jax.ShapeDtypeStruct, devices: Iterable[Any]) -> dict[Any, Box]:
    """Which part of a sharded array each of these devices holds."""
    parts = leaf.sharding.devices_indices_map(leaf.shape)
    return {
        device: tuple(
            part.indices(n)[:2] for part, n in zip(parts[device], leaf.shape, strict=True)
        )
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
                array[within(common, box)] = part[within(common, tile)]
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
        for tile in _read_tiles(tensors[path], shards(leaf, devices).values()):
            yield from tensors[path].pieces(tile)


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


def _aligned(shape: Iterable[int], dtype: np.dtype) -> np.ndarray:
    shape = tuple(shape)
    size = dtype.itemsize * math.prod(shape)
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
