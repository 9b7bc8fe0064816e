from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_task import ToyTask, config

from alchemint_jax import sharding
from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.train import OptimizerConfig, learning_rate, plan_state, update_ema
from alchemint_jax.train.optimizer import decayed, group_labels, make_optimizer, matrices
from alchemint_jax.weights.tensors import in_memory

pytestmark = pytest.mark.slow


def first_updates(tx, grads, params):
    """As one program, of which there would be dozens."""
    return jax.jit(lambda grads, params: tx.update(grads, tx.init(params), params)[0])(
        grads, params
    )


def test_warmup_then_cosine_ends_at_the_final_fraction():
    c = OptimizerConfig(warmup_steps=10, schedule="cosine", total_steps=110, final_fraction=0.1)
    rate = np.asarray(jax.jit(learning_rate(c, 2.0))(np.arange(120)))
    np.testing.assert_allclose(rate[0], 0.2, rtol=1e-6)
    np.testing.assert_allclose(rate[9], 2.0, rtol=1e-6)
    np.testing.assert_allclose(rate[60], 1.1, rtol=1e-5)  # half way: mean of 1 and 0.1
    np.testing.assert_allclose(rate[110:], 0.2, rtol=1e-5)
    assert np.argmax(rate) in (9, 10)
    assert all(a <= b for a, b in zip(rate[:9], rate[1:10], strict=True))
    assert all(a >= b for a, b in zip(rate[10:-1], rate[11:], strict=True))


def test_constant_schedule_stays():
    assert float(learning_rate(OptimizerConfig(), 3.0)(10**6)) == 3.0


@pytest.mark.parametrize(
    "warmup, schedule", [(0, "cosine"), (1, "cosine"), (7, "cosine"), (7, "constant")]
)
def test_the_rate_is_the_formula_at_every_step(warmup, schedule):
    c = OptimizerConfig(warmup_steps=warmup, schedule=schedule, total_steps=40, final_fraction=0.05)
    steps = np.arange(60)
    done = np.clip((steps - warmup) / (40 - warmup), 0, 1) * (schedule == "cosine")
    wanted = 0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * done))
    wanted = 0.3 * wanted * np.minimum(1, (steps + 1) / max(1, warmup))
    np.testing.assert_allclose(jax.jit(learning_rate(c, 0.3))(steps), wanted, atol=1e-7)


def test_the_state_is_that_of_all_checkpoints_whatever_the_groups_are():
    params = {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2))}
    for groups, labels in (
        ((("all", 1.0),), {"a": "all", "b": "all"}),
        ((("x", 1.0), ("y", 0.1)), {"a": "x", "b": "y"}),
    ):
        c = OptimizerConfig(groups=groups, weight_decay=0.1)
        tx = make_optimizer(c, labels, decayed(params), matrices(params))
        state, update = jax.jit(tx.init)(params), jax.jit(tx.update)
        for count in range(3):
            leaves = jax.tree_util.tree_leaves_with_path(state)
            names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
            assert names == ["1/count", "1/mu/a", "1/mu/b", "1/nu/a", "1/nu/b", "2/count"]
            assert state[2].count == count and state[2].count.dtype == jnp.int32
            _, state = update(params, state, params)


@pytest.mark.parametrize(
    "bad",
    [
        {"groups": ()},
        {"groups": (("a", 1.0), ("a", 2.0))},
        {"groups": (("a", -1.0),)},
        {"method": "adamm"},
        {"schedule": "linear"},
        {"schedule": "cosine", "warmup_steps": 5, "total_steps": 5},
        {"accumulate": 0},
        {"ema_decay": 1.0},
    ],
)
def test_bad_configuration_is_refused(bad):
    with pytest.raises(ConfigError, match="optimizer"):
        OptimizerConfig(**bad)


def test_unknown_group_is_named():
    c = OptimizerConfig(groups=(("all", 1.0),))
    with pytest.raises(ConfigError, match=r"a/w.*'ref'"):
        group_labels({"a": {"w": jnp.zeros(2)}}, lambda path: "ref", c)


def test_first_adam_step_moves_by_the_rate_of_each_group():
    # With b1 = b2 = 0 Adam's update is the sign of the gradient, whatever its size.
    c = OptimizerConfig(groups=(("fast", 0.1), ("slow", 0.001)), b1=0.0, b2=0.0, clip_norm=0.0)
    params = {"a": np.ones((2, 2), np.float32), "b": np.ones((2, 2), np.float32)}
    labels = group_labels(params, {"a": "fast", "b": "slow"}.get, c)
    tx = make_optimizer(c, labels, decayed(params), matrices(params))
    grads = {"a": np.full((2, 2), 3, np.float32), "b": np.full((2, 2), -7, np.float32)}
    updates = first_updates(tx, grads, params)
    np.testing.assert_allclose(updates["a"], -0.1, rtol=1e-4)
    np.testing.assert_allclose(updates["b"], 0.001, rtol=1e-4)


def test_weight_decay_spares_vectors_also_when_layers_are_stacked():
    def stacked(shape):
        ones = np.ones(shape, np.float32)
        return nn.LogicallyPartitioned(ones, ("layers",) + (None,) * (len(shape) - 1))

    boxed = {
        "kernel": np.ones((2, 2), np.float32),
        "gamma": np.ones(2, np.float32),
        "bias": np.ones((3, 2), np.float32),
        "blocks": {"kernel": stacked((3, 2, 2)), "gain": stacked((3, 2))},
    }
    mask = decayed(boxed)
    assert mask == {
        "kernel": True,
        "gamma": False,
        "bias": False,
        "blocks": {"kernel": True, "gain": False},
    }
    params = sharding.unbox(boxed)
    c = OptimizerConfig(groups=(("all", 0.5),), weight_decay=0.1)
    tx = make_optimizer(c, jax.tree.map(lambda _: "all", params), mask, matrices(boxed))
    updates = first_updates(tx, jax.tree.map(np.zeros_like, params), params)
    np.testing.assert_allclose(updates["blocks"]["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["blocks"]["gain"], 0.0)


def test_gradient_is_clipped_to_the_norm():
    c = OptimizerConfig(clip_norm=1.0, b1=0.0, b2=0.0, eps=1e3)  # eps so large: update ~ g / eps
    params = {"w": np.zeros((2, 2), np.float32)}
    tx = make_optimizer(c, {"w": "all"}, {"w": False}, {"w": None})
    small, large = (  # norms 1 and 100
        first_updates(tx, {"w": np.full((2, 2), x, np.float32)}, params) for x in (0.5, 50)
    )
    np.testing.assert_allclose(small["w"], large["w"], rtol=1e-5)
    assert float(jnp.abs(small["w"]).max()) > 0


@pytest.mark.parametrize("step, decay", [(0, 0.1), (5, 6 / 15), (10**6, 0.99)])
def test_moving_average_formula(step, decay):
    ema = update_ema({"w": jnp.asarray(2.0)}, {"w": jnp.asarray(5.0)}, step, 0.99)
    np.testing.assert_allclose(ema["w"], decay * 2.0 + (1 - decay) * 5.0, rtol=1e-5)


def test_moving_average_of_equal_weights_does_not_drift():
    w = jax.random.normal(jax.random.key(0), (1000,))
    ema = {"w": w}
    for step in range(20):
        ema = update_ema(ema, {"w": w}, step, 0.999)
    np.testing.assert_array_equal(ema["w"], w)


@dataclasses.dataclass(frozen=True)
class Pretrained(ToyTask):
    weights: dict = dataclasses.field(default_factory=dict)

    def pretrained(self):
        return self.weights


def test_pretrained_weights_replace_the_fresh_ones_they_name():
    mesh = sharding.make_mesh(data=2, fsdp=4)
    kernel = np.full((16, 16), 0.25, np.float32)
    task = Pretrained(weights={"mid.kernel": in_memory(kernel)})
    state = plan_state(task, config().optimizer, mesh).init(jax.random.key(0))
    fresh = plan_state(ToyTask(), config().optimizer, mesh).init(jax.random.key(0))
    for name in ("params", "ema"):
        np.testing.assert_array_equal(state[name]["mid"]["kernel"], kernel)
        np.testing.assert_array_equal(state[name]["out"]["kernel"], fresh[name]["out"]["kernel"])
    assert jax.tree.all(jax.tree.map(lambda a, b: a.sharding == b.sharding, state, fresh))


@pytest.mark.parametrize(
    "weights",
    [{"mid.kernel": np.zeros((2, 2))}, {"middle.bias": np.zeros(1)}, {"mid": np.zeros(3)}],
)
def test_pretrained_weights_that_do_not_fit_are_refused(weights):
    task = Pretrained(weights={name: in_memory(x) for name, x in weights.items()})
    plan = plan_state(task, config().optimizer, sharding.make_mesh())
    with pytest.raises(WeightsError, match="mid"):
        plan.init(jax.random.key(0))


def test_muon_orthogonalises_each_kernel_and_leaves_the_rest_to_adam():
    def stacked(x):
        return nn.LogicallyPartitioned(x, ("layers", *(None,) * (x.ndim - 1)))

    rng = np.random.default_rng(0)
    boxed = {
        "kernel": rng.standard_normal((3, 3, 4, 8), np.float32),  # a convolution: a 36 x 8 matrix
        "blocks": {"kernel": stacked(rng.standard_normal((2, 6, 16), np.float32))},
        "table": rng.standard_normal((5, 4), np.float32),
        "bias": np.ones(4, np.float32),
    }
    params = sharding.unbox(boxed)
    c = OptimizerConfig(method="muon", groups=(("all", 0.5),), clip_norm=0.0)
    labels = jax.tree.map(lambda _: "all", params)
    tx = make_optimizer(c, labels, decayed(boxed), matrices(boxed))
    # One layer's gradient a thousand times the other's: separate matrices do not notice.
    scales = np.float32([1, 1e3])[:, None, None]
    grads = dict(params, blocks={"kernel": params["blocks"]["kernel"] * scales})
    updates = first_updates(tx, grads, params)
    conv = np.asarray(updates["kernel"]).reshape(36, 8)
    for matrix in (conv, *np.asarray(updates["blocks"]["kernel"])):
        values = np.linalg.svd(matrix, compute_uv=False)
        assert values.max() / values.min() < 2.0
        # The size of a typical Adam update: root mean square 0.2, times the rate.
        np.testing.assert_allclose(np.sqrt(np.mean(matrix**2)), 0.1, rtol=0.25)
    raw = np.linalg.svd(np.asarray(grads["kernel"]).reshape(36, 8), compute_uv=False)
    assert raw.max() / raw.min() > 2.0, "test is vacuous: the gradient is orthogonal already"
    # Adam's first step is the sign of the gradient; Nesterov's look-ahead makes it a little longer.
    np.testing.assert_allclose(np.abs(updates["table"]), np.abs(updates["bias"]).mean(), rtol=1e-3)
    np.testing.assert_array_equal(np.sign(updates["table"]), -np.sign(grads["table"]))
    assert 0.5 <= np.abs(updates["bias"]).mean() < 1.0


def test_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="method is 'sgd'"):
        OptimizerConfig(method="sgd")
