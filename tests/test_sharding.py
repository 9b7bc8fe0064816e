from __future__ import annotations

import dataclasses
import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError

pytestmark = pytest.mark.slow


def test_there_are_devices_to_test_with():
    assert jax.device_count() == 8


def test_mesh_fills_the_free_axis_with_auto_axes():
    mesh = sharding.make_mesh(fsdp=2, tensor=2)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert sharding.make_mesh(devices=jax.devices()[:1]).size == 1


@dataclasses.dataclass(frozen=True)
class Device:
    """As much of a device as a mesh is made from."""

    id: int
    slice_index: int
    device_kind: str = "made up"
    platform: str = "made up"


@pytest.mark.parametrize(
    ("slices", "sizes", "spanned"),
    [
        (2, {"data": 2, "fsdp": 4}, {"data"}),
        (4, {"data": 2, "fsdp": 8}, {"data", "fsdp"}),
        (2, {"data": 4, "fsdp": 2, "tensor": 2}, {"data"}),
        (2, {"data": 1, "context": 4, "tensor": 2}, {"context"}),
    ],
)
def test_outer_axes_span_slices(slices, sizes, spanned):
    count = int(np.prod(list(sizes.values())))
    devices = [Device(i, i % slices) for i in range(count)]
    mesh = sharding.make_mesh(**sizes, devices=devices)
    index = np.vectorize(lambda d: d.slice_index)(mesh.devices)
    crossed = {name for i, name in enumerate(sharding.MESH_AXES) if np.ptp(index, axis=i).max() > 0}
    assert crossed == spanned
    assert len(set(mesh.devices.flat)) == count


@pytest.mark.parametrize(("slices", "count"), [(2, 8), (3, 8)])
def test_slices_that_do_not_fit_are_refused(slices, count):
    devices = [Device(i, i % slices) for i in range(count)]
    with pytest.raises(ConfigError, match=rf"slices .* their number, {slices}"):
        sharding.make_mesh(data=1, tensor=-1, devices=devices)


@pytest.mark.parametrize(
    ("topology", "options", "sizes"),
    [
        ("v5p:4x4x4", {}, {"data": 4, "fsdp": 16}),
        ("v5p:4x4x4", {}, {"data": 8, "fsdp": 8}),  # splits axes of the torus
        ("v5e:2x2", {"num_slices": 2}, {"data": 2, "fsdp": 4}),
        ("v4:2x2x1", {}, {"data": 1, "fsdp": 8}),  # two devices per chip
    ],
)
def test_a_mesh_of_devices_that_are_not_there(topology, options, sizes):
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("needs libtpu")
    found = topologies.get_topology_desc(platform="tpu", topology_name=topology, **options)
    mesh = sharding.make_mesh(**sizes, devices=found.devices)
    assert set(mesh.devices.flat) == set(found.devices)
    if sizes == {"data": 4, "fsdp": 16}:  # one step along `data` moves along one axis of the torus
        steps = np.abs(np.diff([d.coords for d in mesh.devices[:, 0, 0, 0]], axis=0))
        assert (np.count_nonzero(steps, axis=1) == 1).all()


@pytest.mark.parametrize(
    "sizes", [{"data": 3}, {"fsdp": 3}, {"data": -1, "fsdp": -1}, {"tensor": 0}, {"fsdp": 16}]
)
def test_impossible_mesh_is_refused(sizes):
    with pytest.raises(ConfigError, match="mesh"):
        sharding.make_mesh(**sizes)


def test_spec_follows_the_table():
    assert sharding.spec("embed", "mlp") == P(("fsdp", "context"), "tensor")
    assert sharding.spec("batch", None, "layers") == P(("data", "fsdp"), None, None)


def test_unknown_and_colliding_names_raise():
    with pytest.raises(ConfigError, match="embd"):
        sharding.spec("embd", "mlp")
    with pytest.raises(ConfigError, match="twice"):
        sharding.spec("batch", "embed")


def test_every_rule_names_axes_of_the_mesh():
    for name in sharding.RULES:
        assert set(jax.tree.leaves(tuple(sharding.spec(name)))) <= set(sharding.MESH_AXES)


def test_state_shardings_use_boxes_and_replicate_what_does_not_divide():
    mesh = sharding.make_mesh(data=1, fsdp=4, tensor=2)
    tree = {
        "kernel": nn.LogicallyPartitioned(jnp.zeros((8, 6)), ("embed", "mlp")),
        "odd": nn.LogicallyPartitioned(jnp.zeros((6, 6)), ("embed", "mlp")),
        "plain": jnp.zeros(3),
    }
    got = sharding.state_shardings(tree, mesh)
    assert got["kernel"].spec == P(("fsdp", "context"), "tensor")
    assert got["odd"].spec == P(None, "tensor")
    assert got["plain"].spec == P()
    assert jax.tree.structure(got) == jax.tree.structure(sharding.unbox(tree))


def test_names_that_do_not_fit_the_shape_raise():
    tree = {"w": nn.LogicallyPartitioned(jnp.zeros((8, 6)), ("embed",))}
    with pytest.raises(ConfigError, match=r"embed.*\(8, 6\)"):
        sharding.state_shardings(tree, sharding.make_mesh())


def test_batch_is_split_over_data_and_fsdp():
    mesh = sharding.make_mesh(data=2, fsdp=4)
    x = np.arange(16, dtype=np.float32).reshape(16, 1)
    put = sharding.put_batch({"x": x}, mesh)["x"]
    assert put.addressable_shards[0].data.shape == (2, 1)
    np.testing.assert_array_equal(put, x)
    with pytest.raises(ConfigError, match="batch size"):
        sharding.put_batch({"x": x[:6]}, mesh)


@pytest.mark.parametrize(
    ("sizes", "processes", "expected"),
    [
        ({"data": 2, "fsdp": 4}, 1, [tuple(range(8))]),
        ({"data": 2, "fsdp": 4}, 2, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ({"data": 2, "tensor": 4}, 2, [(0,), (1,)]),
        # Sequences longer than a process: those that share them read the same.
        ({"data": 2, "context": 2, "tensor": 2}, 4, [(0,), (0,), (1,), (1,)]),
        ({"data": 1, "context": 8}, 4, [(0,)] * 4),
        ({"data": 2, "fsdp": 2, "context": 2}, 8, [(p,) for p in (0, 0, 1, 1, 2, 2, 3, 3)]),
    ],
)
def test_processes_hold_parts_of_a_batch(sizes, processes, expected):
    mesh = sharding.make_mesh(**sizes)
    count = sizes["data"] * sizes.get("fsdp", 1)
    found = [sharding.batch_parts(mesh, i, processes) for i in range(processes)]
    assert found == [(parts, count) for parts in expected]


def test_parts_of_a_torus_may_be_apart():
    devices = np.array(jax.devices()).reshape(2, 2, 2).transpose(2, 1, 0).reshape(2, 4, 1, 1)
    mesh = jax.sharding.Mesh(devices, sharding.MESH_AXES)
    assert sharding.batch_parts(mesh, 1, 2) == ((1, 3, 5, 7), 8)


def test_processes_that_would_read_unlike_amounts_are_refused():
    devices = np.array(jax.devices())[[0, 1, 2, 4, 3, 5, 6, 7]].reshape(2, 1, 4, 1)
    mesh = jax.sharding.Mesh(devices, sharding.MESH_AXES)
    with pytest.raises(ConfigError, match="read more of a batch than others"):
        sharding.batch_parts(mesh, 0, 4)


def test_constrained_arrays_are_split_also_where_that_is_uneven():
    mesh = sharding.make_mesh(data=4, tensor=2)
    shape = (8, 5, 3, 1)
    with sharding.use_mesh(mesh):
        y = jax.jit(lambda x: sharding.constrain(2 * x, "batch", "tokens", "heads", None))(
            jnp.ones(shape)
        )
        with pytest.raises(ConfigError, match="do not fit the shape"):
            sharding.constrain(y, "batch")
        with pytest.raises(ConfigError, match="unknown"):
            sharding.constrain(y, "batch", "token", None, None)
        text = jax.jit(lambda x: sharding.constrain(x, "batch", "tokens", "heads", None)).lower(y)
        one = sharding.constrain(y[:1], "batch", None, None, None)
    assert y.addressable_shards[0].data.shape[0] == 2
    assert '"data"' in text.as_text() and '"tensor"' in text.as_text()
    np.testing.assert_array_equal(one, y[:1])  # one sample is not split over four devices
    x = jnp.ones(shape)
    assert sharding.constrain(x, "batch", "tokens", "heads", None) is x


def test_constraints_in_modules_take_effect_only_inside_use_mesh():
    def f(x):
        return nn.with_logical_constraint(x, ("batch", None))

    x = jnp.zeros((8, 2))
    with sharding.use_mesh(sharding.make_mesh()):
        assert "sharding_constraint" in str(jax.make_jaxpr(f)(x))
    assert "sharding_constraint" not in str(jax.make_jaxpr(f)(x))
