from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError


def test_there_are_devices_to_test_with():
    assert jax.device_count() == 8


def test_mesh_fills_the_free_axis_with_auto_axes():
    mesh = sharding.make_mesh(fsdp=2, tensor=2)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert sharding.make_mesh(devices=jax.devices()[:1]).size == 1


@pytest.mark.parametrize(
    "sizes", [{"data": 3}, {"fsdp": 3}, {"data": -1, "fsdp": -1}, {"tensor": 0}, {"fsdp": 16}]
)
def test_impossible_mesh_is_refused(sizes):
    with pytest.raises(ConfigError, match="mesh"):
        sharding.make_mesh(**sizes)


def test_spec_follows_the_table():
    assert sharding.spec("embed", "mlp") == P("fsdp", "tensor")
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
    assert got["kernel"].spec == P("fsdp", "tensor")
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


def test_constraints_in_modules_take_effect_only_inside_use_mesh():
    def f(x):
        return nn.with_logical_constraint(x, ("batch", None))

    x = jnp.zeros((8, 2))
    with sharding.use_mesh(sharding.make_mesh()):
        assert "sharding_constraint" in str(jax.make_jaxpr(f)(x))
    assert "sharding_constraint" not in str(jax.make_jaxpr(f)(x))
