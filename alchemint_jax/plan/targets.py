"""Named hardware: what a chip has, how chips are joined, and devices to compile for.

Facts are the makers' own (checked November 2026): docs.cloud.google.com/tpu/docs/{v3, v4, v5e,
v5p, v6e, tpu7x} and NVIDIA's data sheets of H100 SXM and H200 SXM. Google states the bandwidth of
all links of a chip in both directions; here it is that of one link in one direction (of a v3, whose
page says no more, from the bisection of its pod).
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np

from alchemint_jax.compilation import quiet_libtpu
from alchemint_jax.errors import ConfigError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """Facts about one chip.

    Attributes:
        kind: "tpu" or "cuda".
        hbm: bytes that its programs can have.
        flops: dense bfloat16 operations per second.
        bandwidth: of its memory, bytes per second.
        link: of one link to a neighbour (TPU) or to all of its node (GPU), one way, bytes/s.
        network: beyond slice or node, one way, bytes/s per chip; 0 where slices cannot be joined.
        axes: of the torus (TPU).
        wrap: sides of a slice that are multiples of this close to a ring (TPU).
        cores: of Google's names such as v5p-8, for each chip.
        devices: of JAX, for each chip. Two cores are one device where they share their memory.
    """

    kind: str
    hbm: float
    flops: float
    bandwidth: float
    link: float
    network: float
    axes: int = 1
    wrap: int = 1
    cores: int = 1
    devices: int = 1


# The memory of TPUs is what their compiler allows. Of a GPU's, JAX takes the part that
# XLA_PYTHON_CLIENT_MEM_FRACTION says, at most about 0.95 (CUDA itself needs some hundred MiB).
_GPU_SHARE = 0.95

CHIPS = {
    "v3": Chip(
        "tpu", 2 * 15.48 * GIB, 123e12, 900e9, 100e9, 0.0, axes=2, wrap=32, cores=2, devices=2
    ),
    "v4": Chip("tpu", 30.75 * GIB, 275e12, 1200e9, 50e9, 6.25e9, axes=3, wrap=4, cores=2),
    "v5e": Chip("tpu", 15.75 * GIB, 197e12, 819e9, 50e9, 3.125e9, axes=2, wrap=16),
    "v5p": Chip("tpu", 95.74 * GIB, 459e12, 2765e9, 100e9, 6.25e9, axes=3, wrap=4, cores=2),
    "v6e": Chip("tpu", 31.25 * GIB, 918e12, 1638e9, 100e9, 12.5e9, axes=2, wrap=16),
    "tpu7x": Chip(
        "tpu", 189.5 * GIB, 2307e12, 7380e9, 100e9, 12.5e9, axes=3, wrap=4, cores=2, devices=2
    ),
    "h100": Chip("cuda", 84929347584 * _GPU_SHARE, 989e12, 3350e9, 450e9, 50e9),
    "h200": Chip("cuda", 150754820096 * _GPU_SHARE, 989e12, 4800e9, 450e9, 50e9),
}

# Google's own names of chips that JAX calls otherwise.
_ALIASES = {"v5litepod": "v5e"}

# Shapes of Google's slices by number of chips.
_SLICES = {
    2: "1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16",
    3: "1x1x1 2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16",
}

_EXAMPLES = "v5p-8, v5p:4x4x4, 2xv6e:16x16, h100:8x8 (8 nodes of 8) or h200:8"


@dataclasses.dataclass(frozen=True)
class Target:
    """Chips and how they are joined.

    Attributes:
        name: as it was asked for.
        model: a key of `CHIPS`.
        shape: of a slice's torus (TPU), or (nodes, chips of a node).
        slices: that only the data centre's network joins (TPU).
    """

    name: str
    model: str
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chip(self) -> Chip:
        """Facts about one of its chips."""
        return CHIPS[self.model]

    @property
    def chips(self) -> int:
        """Number of chips."""
        return self.slices * math.prod(self.shape)


def parse_target(name: str) -> Target:
    """The target of a name: `v5p:4x4x4`, `v5p-8` (Google's), `2xv5p:4x4x4`, `h100:8x8`, `h200:8`.

    Raises:
        ConfigError: for a name that says nothing.
    """
    found = re.fullmatch(r"(?:(\d+)x)?([a-z]+\d+[a-z]*)(?:(-)(\d+)|:(\d+(?:x\d+){0,2}))", name)
    model = _ALIASES.get(found[2], found[2]) if found else ""
    if not found or model not in CHIPS or name.startswith("0"):
        known = ", ".join(CHIPS)
        raise ConfigError(f"target {name!r}: no such hardware; chips: {known}; e.g. {_EXAMPLES}")
    slices, _, dash, count, sizes = found.groups()
    chip = CHIPS[model]
    if slices and not chip.network:
        raise ConfigError(f"target {name!r}: slices of {model} cannot be joined; ask for one")
    if dash:
        if chip.kind != "tpu":
            raise ConfigError(f"target {name!r}: write {model}:NODESx8")
        chips = int(count) // chip.cores
        shapes = {math.prod(s): s for s in map(_sizes, _SLICES[chip.axes].split())}
        if chips not in shapes or int(count) % chip.cores:
            names = ", ".join(f"{model}-{n * chip.cores}" for n in shapes)
            raise ConfigError(f"target {name!r}: there are {names}; or give a shape, {model}:...")
        return Target(name, model, shapes[chips], int(slices or 1))
    shape = _sizes(sizes)
    if chip.kind == "cuda":
        shape = (1, *shape) if len(shape) == 1 else shape
        shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
        if len(shape) != 2 or slices or min(shape) < 1:
            raise ConfigError(f"target {name!r}: write {model}:NODESxGPUS, for example {model}:8x8")
    elif len(shape) != chip.axes or min(shape) < 1:
        raise ConfigError(
            f"target {name!r}: a {model} slice has {chip.axes} sides, for example "
            f"{model}:{_SLICES[chip.axes].split()[3]}"
        )
    return Target(name, model, shape, int(slices or 1))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("x"))


def topology_devices(target: Target) -> list[Any]:
    """Devices of the target to build a mesh of; programs can be compiled for them, not run.

    There are `target.chip.devices` for a chip.

    Raises:
        ConfigError: what compiles for this hardware is not installed.
    """
    from jax.experimental import topologies

    try:
        if target.chip.kind == "cuda":
            nodes, chips = target.shape
            found = topologies.get_topology_desc(
                "",
                platform="cuda",
                target_config=_cuda_config(target.model),
                topology=f"1x{nodes}x{chips}",
            )
        else:
            quiet_libtpu()
            shape = "x".join(map(str, target.shape))
            options: dict[str, Any] = {}
            if target.slices > 1:
                options["num_slices"] = target.slices
            if target.model == "v4":  # one device of both cores, as on the machine itself
                options["chip_config_name"] = "megacore"
            if math.prod(target.shape) == 1:  # a host has more chips than that otherwise
                options["chips_per_host_bounds"] = [1, 1, 1]
            found = topologies.get_topology_desc(
                platform="tpu", topology_name=f"{target.model}:{shape}", **options
            )
    except Exception as error:  # whatever the plugin raises, mostly JaxRuntimeError
        extra = "plan-tpu" if target.chip.kind == "tpu" else "plan-cuda"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ConfigError(
            f"target {target.name}: its compiler cannot be used ({reason}); it comes with "
            f"pip install -e '.[{extra}]' on x86-64 Linux"
        ) from error
    return list(found.devices)


def _cuda_config(model: str) -> str:
    """XLA's description of a GPU (`xla::gpu::GpuTargetConfigProto`) to compile for."""
    memory = {"h100": 84929347584, "h200": 150754820096}[model]
    name = {"h100": "NVIDIA H100 80GB HBM3", "h200": "NVIDIA H200"}[model]
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: {int(CHIPS[model].bandwidth)} device_memory_size: {memory}
  l2_cache_size: 52428800 clock_rate_ghz: 1.98
  cuda_compute_capability {{ major: 9 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 13 }}
device_description_str: "{name}"
"""


def network_bandwidth(target: Target, devices: list[Any], group: list[int]) -> tuple[str, float]:
    """The network that a collective of these devices uses, and its bytes/s one way per device.

    On a torus, a group that spans several axes uses links of all of them, in both directions
    where an axis is long enough to close to a ring, and of a line's two ends only one.

    Args:
        target: the hardware.
        devices: all devices in the order that the program counts them.
        group: the members, as such counts.
    """
    chip, members = target.chip, [devices[i] for i in group]
    per_chip = chip.devices
    if chip.kind == "cuda":
        parts, slow = {device.id // target.shape[1] for device in members}, "infiniband"
    else:
        parts, slow = {getattr(device, "slice_index", None) or 0 for device in members}, "dcn"
    if len(parts) > 1:  # all that are of one node or slice send at once, each by its own adapter
        together = max(1.0, len(members) / len(parts) / per_chip)
        return slow, min(together * chip.network, chip.link) / per_chip
    if chip.kind == "cuda":
        return "nvlink", chip.link
    coords = np.array([device.coords for device in members])
    bandwidth = 0.0
    for axis, side in enumerate(target.shape):
        if len(np.unique(coords[:, axis])) > 1:
            bandwidth += chip.link * (2 if side % chip.wrap == 0 else 1)
    # Two cores of one chip share memory; what joins them is not stated, and not slower than this.
    return "ici", (bandwidth or 2 * chip.axes * chip.link) / per_chip
