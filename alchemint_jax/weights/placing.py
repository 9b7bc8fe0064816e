"""From tensors in files to arrays on devices, with memory for little more than the arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable

import jax
import numpy as np

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.weights.files import DTYPES, Tensor
from alchemint_jax.weights.finite import is_finite

Bounds = tuple[tuple[int, int], ...]  # first and last + 1 along each axis
_ALIGNMENT = 64  # bytes: where an array must begin for the CPU backend to take it without a copy


def read_array(
    tensor: Tensor, dtype: np.dtype | type = np.float32, name: str = "a tensor"
) -> np.ndarray:
    """A tensor as an array of its own, which JAX's CPU backend can take over without a copy.

    Raises:
        NonFiniteError: the values, of the tensor called `name` in errors, do not fit the dtype.
    """
    whole = tuple((0, n) for n in tensor.shape)
    return _read(tensor, [whole], np.dtype(dtype), name)[whole]


def place(tensor: Tensor, leaf: jax.ShapeDtypeStruct, name: str = "a tensor") -> jax.Array:
    """A tensor with the dtype and the sharding of `leaf`, or on the default device.

    Of a sharded one only the pieces of this process's devices are ever held.

    Raises:
        NonFiniteError: the values, of the tensor called `name` in errors, do not fit the dtype.
    """
    # Nobody else holds the arrays: where the device's memory is the host's they are handed over.
    if leaf.sharding is None:
        return jax.device_put(read_array(tensor, leaf.dtype, name), may_alias=True)
    pieces = {
        device: tuple(part.indices(n)[:2] for part, n in zip(index, tensor.shape, strict=True))
        for device, index in leaf.sharding.addressable_devices_indices_map(tensor.shape).items()
    }
    arrays = _read(tensor, pieces.values(), np.dtype(leaf.dtype), name)
    shards = [jax.device_put(arrays[p], device, may_alias=True) for device, p in pieces.items()]
    return jax.make_array_from_single_device_arrays(tensor.shape, leaf.sharding, shards)


def _read(
    tensor: Tensor, pieces: Iterable[Bounds], dtype: np.dtype, name: str
) -> dict[Bounds, np.ndarray]:
    """The distinct pieces of a tensor, each in an array of its own; every part is read once."""
    arrays = {piece: _aligned([b - a for a, b in piece], dtype) for piece in pieces}
    for rows, part in tensor.parts():
        for piece, array in arrays.items():
            if rows is None:
                array[...] = part[tuple(slice(*bounds) for bounds in piece)]
                continue
            (first, last), *others = piece
            start, stop = max(first, rows.start), min(last, rows.stop)
            if start < stop:
                wanted = (slice(start - rows.start, stop - rows.start),)
                inner = tuple(slice(*bounds) for bounds in others)
                array[start - first : stop - first] = part[wanted + inner]
    # What is read is finite; only where digits are lost it may not stay so.
    narrower = dtype.itemsize < DTYPES[tensor.dtype].itemsize
    if narrower and not all(map(is_finite, arrays.values())):
        raise NonFiniteError(f"{name} has values that {dtype} cannot hold; compute in float32")
    return arrays


def _aligned(shape: Iterable[int], dtype: np.dtype) -> np.ndarray:
    shape = tuple(shape)
    size = dtype.itemsize * math.prod(shape)
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
