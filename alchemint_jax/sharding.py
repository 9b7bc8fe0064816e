"""The device mesh and the one table that says which logical axis lives on which mesh axis.

Modules only ever name logical axes (``nn.with_logical_partitioning(init, ("embed", "mlp"))``);
this file alone knows the mesh. Unknown names and names that would use one mesh axis twice raise:
Flax by itself would silently replicate them.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from alchemint_jax.errors import ConfigError

MESH_AXES = ("data", "fsdp", "context", "tensor")

RULES: dict[str, str | tuple[str, ...] | None] = {
    # activations
    "batch": ("data", "fsdp"),
    "tokens": "context",
    "text_tokens": None,
    # weights: one dimension of every large matrix on fsdp and context, the other on tensor. What
    # shares a sequence has the same weights, and need not have all of them twice.
    "embed": ("fsdp", "context"),
    "mlp": "tensor",
    "heads": "tensor",
    "vocab": "tensor",
    # never split
    "layers": None,
    "head_dim": None,
    "text": None,
    "patch": None,
    "slots": None,
    "modulation": None,
    "norm": None,
    "buckets": None,
    "time": None,
    "height": None,
    "width": None,
    # convolutions of the VAE: outputs on fsdp
    "kernel": None,
    "conv_in": None,
    "conv_out": "fsdp",
}


def make_mesh(
    data: int = -1,
    fsdp: int = 1,
    context: int = 1,
    tensor: int = 1,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh with axes ``data, fsdp, context, tensor``, every axis of type Auto.

    Sizes multiply to the number of devices; one may be -1, "all devices that remain". On a TPU the
    axes follow the torus where the sizes allow it. Several slices, which only a slow network joins,
    are spanned by ``data``; where it is too small for them by ``fsdp`` too, then by ``context``.

    Args:
        data: copies of the weights, each with its part of the batch.
        fsdp: parts of the weights; the batch is split over this axis too.
        context: parts of a sequence, which attention exchanges for heads (``ops.context``).
        tensor: parts of the heads and of the feed-forward width.
        devices: the devices to use, all of them by default; those of a topology that is not there
            (``jax.experimental.topologies``) give a mesh to compile for.

    Raises:
        ConfigError: the sizes do not multiply to the number of devices, or slices differ in size
            or would cut the tensor axis.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = dict(zip(MESH_AXES, (data, fsdp, context, tensor), strict=True))
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise ConfigError(f"mesh {sizes}: sizes must be positive, and at most one may be -1")
    known = math.prod(size for size in sizes.values() if size != -1)
    if free:
        sizes[free[0]] = len(devices) // known
    if math.prod(sizes.values()) != len(devices):
        raise ConfigError(
            f"mesh {sizes} needs {math.prod(sizes.values()) or known} devices but there are "
            f"{len(devices)}; change the sizes, or give -1 to one axis"
        )
    array = _across_slices(sizes, devices)
    return Mesh(array, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _across_slices(sizes: Mapping[str, int], devices: Sequence[Any]) -> np.ndarray:
    """The devices as an array of these sizes; along outer axes slice after slice."""
    slices: dict[int, list[Any]] = {}
    for device in devices:
        slices.setdefault(getattr(device, "slice_index", None) or 0, []).append(device)
    parts, left = [], len(slices)
    for name, size in sizes.items():
        parts.append(1 if name == "tensor" else math.gcd(size, left))
        left //= parts[-1]
    if left > 1 or len({len(group) for group in slices.values()}) > 1:
        found = ", ".join(f"{len(group)} devices" for group in slices.values())
        raise ConfigError(
            f"mesh {dict(sizes)} does not fit the slices ({found}): they must be equal, and data x "
            f"fsdp a multiple of their number, {len(slices)}; only a slow network joins them"
        )
    inner = [size // part for size, part in zip(sizes.values(), parts, strict=True)]
    blocks = np.empty(len(slices), object)
    for i, index in enumerate(sorted(slices)):
        blocks[i] = _on_torus(inner, slices[index])
    return np.block(blocks.reshape(parts).tolist())


def _on_torus(sizes: Sequence[int], devices: Sequence[Any]) -> np.ndarray:
    """One slice's devices, each axis along axes of the torus if possible, else along parts."""
    for split in (False, True):
        # What JAX raises where the axes do not lie along this torus, or where it is no torus.
        with contextlib.suppress(NotImplementedError, ValueError, AssertionError):
            return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=split)
    return np.asarray(devices, object).reshape(sizes)


def spec(*names: str | None) -> P:
    """The PartitionSpec of an array whose dimensions carry these logical names.

    Raises:
        ConfigError: for a name that is not in ``RULES``, or names that share a mesh axis.
    """
    unknown = sorted({n for n in names if n is not None} - RULES.keys())
    if unknown:
        raise ConfigError(f"unknown logical axes {unknown}; known: {sorted(RULES)}")
    axes = [RULES[n] if n is not None else None for n in names]
    used = jax.tree.leaves(axes)
    if len(used) != len(set(used)):
        raise ConfigError(f"logical axes {names} use a mesh axis twice: {axes}")
    return P(*axes)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """``x``, split as these logical names say; as it is where no mesh of ours is current.

    Left to itself the compiler may well gather a sequence or a batch that it could keep split. A
    dimension that does not divide is split unevenly, one with fewer entries than parts is whole.

    Raises:
        ConfigError: see ``spec``; also if the number of names is not that of dimensions.
    """
    wanted = spec(*names)
    if len(names) != x.ndim:
        raise ConfigError(f"logical axes {names} do not fit the shape {x.shape}")
    mesh = current_mesh()
    if mesh is None:
        return x
    fits = (a if n >= parts(a, mesh) else None for a, n in zip(wanted, x.shape, strict=True))
    return jax.lax.with_sharding_constraint(x, P(*fits))


def current_mesh() -> AbstractMesh | None:
    """The mesh of ``use_mesh``, if it is one of ours that has something to split over.

    Inside ``shard_map`` everything is a device's own already, and there is none.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size == 1 or mesh.axis_names != MESH_AXES or AxisType.Manual in mesh.axis_types:
        return None
    return mesh


def parts(axis: Any, mesh: Mesh | AbstractMesh) -> int:
    """How many parts an entry of a PartitionSpec makes of a dimension."""
    return math.prod(mesh.shape[a] for a in jax.tree.leaves(axis))


def unbox(tree: Any) -> Any:
    """``tree`` with every logical-partitioning box replaced by the array inside it."""
    return jax.tree.map(
        lambda x: x.unbox(apply_constraint=False) if _boxed(x) else x, tree, is_leaf=_boxed
    )


def state_shardings(boxed_abstract: Any, mesh: Mesh) -> Any:
    """A NamedSharding for each array of a (boxed) tree of shapes; boxes are removed.

    Arrays without a box are replicated. A dimension that the size of its mesh axes does not
    divide is replicated too: a bias of 6 cannot live on 8 devices.
    """

    def leaf(x: Any) -> Any:
        if not _boxed(x):
            return NamedSharding(mesh, P())
        if not jax.tree.leaves(x.value):
            return x.value  # what an optimizer keeps of a parameter that it leaves to another
        wanted = spec(*x.names)
        if len(wanted) != len(x.value.shape):
            raise ConfigError(f"logical axes {x.names} do not fit the shape {x.value.shape}")
        return NamedSharding(mesh, _divisible(wanted, x.value.shape, mesh))

    return jax.tree.map(leaf, boxed_abstract, is_leaf=_boxed)


def shard_bytes(tree: Any) -> float:
    """Bytes that one device holds of a tree of sharded shapes."""
    total = 0.0
    for x in jax.tree.leaves(tree):
        shape = x.sharding.shard_shape(x.shape) if x.sharding is not None else x.shape
        total += math.prod(shape) * x.dtype.itemsize
    return total


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of every array of a batch: its leading dimension over data and fsdp."""
    return NamedSharding(mesh, spec("batch"))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, P())


@functools.lru_cache(maxsize=32)
def batch_parts(
    mesh: Mesh, process: int | None = None, processes: int | None = None
) -> tuple[tuple[int, ...], int]:
    """The parts of a batch that a process has devices for, in order, and how many parts there are.

    There are data x fsdp of them. Processes that share a sequence (the axes context and tensor)
    have the same parts: they must read the same examples.

    Args:
        mesh: one of ours.
        process: its number, by default that of this one.
        processes: where the devices are only pretended: how many processes would share them, in
            the order of their numbers.

    Raises:
        ConfigError: some process has more parts than another.
    """
    devices = sorted(mesh.devices.flat, key=lambda device: device.id)
    share = len(devices) // (processes or 1)
    owner = {d: d.process_index if processes is None else i // share for i, d in enumerate(devices)}
    count = mesh.shape["data"] * mesh.shape["fsdp"]
    held: dict[int, set[int]] = {}
    # Data and fsdp are the outer axes: a row of these is what shares a part.
    for part, sharing in enumerate(mesh.devices.reshape(count, -1)):
        for device in sharing:
            held.setdefault(owner[device], set()).add(part)
    if len({len(each) for each in held.values()}) > 1:
        raise ConfigError(
            f"mesh {dict(mesh.shape)}: some processes would read more of a batch than others; "
            "choose axes that the devices of a process divide, or that divide them"
        )
    here = jax.process_index() if process is None else process
    return tuple(sorted(held.get(here, ()))), count


def put_batch(batch: Any, mesh: Mesh) -> Any:
    """Moves a batch of NumPy arrays (the parts that this process holds) to the devices.

    Raises:
        ConfigError: if a leading dimension does not divide over the data and fsdp axes.
    """
    mine, count = batch_parts(mesh)
    put = functools.partial(_put, batch_sharding(mesh), len(mine), count)
    return jax.tree.map(put, batch)


def _put(place: NamedSharding, mine: int, count: int, x: Any) -> jax.Array:
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[0] % mine:
        raise ConfigError(
            f"a batch array of shape {x.shape} cannot be split over {count} devices "
            "(mesh axes data and fsdp); change the batch size or the mesh"
        )
    whole = (x.shape[0] // mine * count, *x.shape[1:])
    return jax.make_array_from_process_local_data(place, x, whole)


@contextlib.contextmanager
def use_mesh(mesh: Mesh) -> Iterator[Mesh]:
    """Makes ``mesh`` and the rules current, so that constraints inside modules take effect."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(tuple(RULES.items())):
        yield mesh


def _boxed(x: Any) -> bool:
    return isinstance(x, nn.LogicallyPartitioned)


def _divisible(wanted: P, shape: tuple[int, ...], mesh: Mesh) -> P:
    axes = zip(wanted, shape, strict=True)
    return P(*(a if n % parts(a, mesh) == 0 else None for a, n in axes))
