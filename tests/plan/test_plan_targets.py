from __future__ import annotations

import types

import jax
import pytest
from tiny_plan import needs_libtpu

from alchemint_jax.compilation import refused
from alchemint_jax.errors import ConfigError
from alchemint_jax.plan.targets import CHIPS, network_bandwidth, parse_target, topology_devices


@pytest.mark.parametrize(
    ("name", "shape", "slices", "chips"),
    [
        ("v5p-8", (2, 2, 1), 1, 4),  # Google counts cores here ...
        ("v5e-8", (2, 4), 1, 8),  # ... and chips here
        ("v5litepod-8", (2, 4), 1, 8),
        ("v4-8", (2, 2, 1), 1, 4),
        ("v3-8", (2, 2), 1, 4),
        ("v5p:4x4x4", (4, 4, 4), 1, 64),
        ("2xv5p:4x4x4", (4, 4, 4), 2, 128),
        ("v6e:16x16", (16, 16), 1, 256),
        ("tpu7x:2x2x1", (2, 2, 1), 1, 4),
        ("h100:8x8", (8, 8), 1, 64),
        ("h100:1x8x8", (8, 8), 1, 64),
        ("h200:8", (1, 8), 1, 8),
    ],
)
def test_names(name, shape, slices, chips):
    target = parse_target(name)
    assert (target.shape, target.slices, target.chips) == (shape, slices, chips)
    assert target.chip is CHIPS[target.model]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v9:2x2", "no such hardware; chips: v3, v4, v5e"),
        ("v5p", "no such hardware"),
        ("v5p:4x4", "3 sides"),
        ("v5p-7", "there are v5p-2, v5p-8, v5p-16"),
        ("h100-8", "h100:NODESx8"),
        ("h100:2x2x2", "h100:NODESxGPUS"),
        ("v5e:0x4", "2 sides"),
        ("2xv3-8", "slices of v3 cannot be joined"),
    ],
)
def test_wrong_names_say_what_there_is(name, says):
    with pytest.raises(ConfigError, match=says):
        parse_target(name)


@needs_libtpu
@pytest.mark.parametrize("name", ["v3-8", "v4-8", "v5e-4", "v5p-8", "v6e-4", "tpu7x-8"])
def test_memory_is_what_the_compiler_allows(name):
    target = parse_target(name)
    device = topology_devices(target)[0]
    place = jax.sharding.SingleDeviceSharding(device)
    much = jax.ShapeDtypeStruct((2**36,), jax.numpy.float32, sharding=place)
    with pytest.raises(jax.errors.JaxRuntimeError) as error:
        jax.jit(jax.numpy.sin).lower(much).compile()
    _, available = refused(str(error.value))
    # Versions of the compiler keep a few MB more or less for themselves.
    assert available * target.chip.devices == pytest.approx(target.chip.hbm, rel=1e-3)


def _devices(shape, slices=1):
    return [
        types.SimpleNamespace(id=0, coords=[x, y, z], slice_index=s if slices > 1 else None)
        for s in range(slices)
        for x in range(shape[0])
        for y in range(shape[1])
        for z in range(shape[2])
    ]


def test_bandwidth_of_a_torus_is_that_of_the_axes_a_group_spans():
    target = parse_target("v5p:4x4x2")
    devices, link = _devices(target.shape), target.chip.link
    z, y, plane = [0, 1], [0, 2, 4, 6], list(range(8))
    assert network_bandwidth(target, devices, z) == ("ici", link)  # two chips: a line
    assert network_bandwidth(target, devices, y) == ("ici", 2 * link)  # four close to a ring
    assert network_bandwidth(target, devices, plane) == ("ici", 3 * link)


def test_slow_networks_are_shared_by_all_members_on_one_side():
    target = parse_target("2xv5p:2x2x1")
    devices = _devices(target.shape, 2)
    assert network_bandwidth(target, devices, [0, 4]) == ("dcn", target.chip.network)
    assert network_bandwidth(target, devices, list(range(8))) == ("dcn", 4 * target.chip.network)
    gpus = parse_target("h100:2x8")
    devices = [types.SimpleNamespace(id=i) for i in range(16)]
    assert network_bandwidth(gpus, devices, list(range(8))) == ("nvlink", gpus.chip.link)
    assert network_bandwidth(gpus, devices, [0, 8]) == ("infiniband", gpus.chip.network)
    assert network_bandwidth(gpus, devices, list(range(16))) == (
        "infiniband",
        8 * gpus.chip.network,
    )
