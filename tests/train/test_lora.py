"""LoRA as pure functions: beside the kernels or merged, of which layers, and in what memory."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lora_kit import KEY, LORA, WAN, drawn, inputs, same, size, velocity

from alchemint_jax import train
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.lora import LoraConfig, init_lora, merge_lora, scaled_lora

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def params():
    return drawn(DiT(WAN).abstract_params(), 0)


def test_a_fresh_lora_changes_no_bit(params):
    lora = init_lora(KEY, params, LORA)
    same(merge_lora(params, lora, LORA.scale), params)
    plain = velocity(WAN, {"params": params}, inputs())
    beside = velocity(WAN, {"params": params, "lora": lora}, inputs())
    np.testing.assert_array_equal(plain, beside)
    for layer in jax.tree.leaves(lora, is_leaf=lambda x: "a" in x):
        wide = layer["a"].shape[-2]
        assert float(jnp.abs(layer["a"]).max()) <= wide**-0.5
        assert float(layer["a"].std()) == pytest.approx((3 * wide) ** -0.5, rel=0.25)


def test_beside_the_kernels_is_the_same_as_merged(params):
    lora = drawn(init_lora(KEY, params, LORA), 3, size=0.3)
    plain, beside, merged = (
        velocity(WAN, variables, inputs())
        for variables in (
            {"params": params},
            {"params": params, "lora": scaled_lora(lora, LORA.scale)},
            {"params": merge_lora(params, lora, LORA.scale)},
        )
    )
    np.testing.assert_allclose(beside, merged, atol=2e-6, rtol=0)
    assert float(jnp.abs(merged - plain).max()) > 1e-3


def test_targets_say_which_layers(params):
    found = init_lora(KEY, params, LoraConfig(targets=("ffn",)))
    assert found["blocks"].keys() == {"ffn_up", "ffn_down"}
    found = init_lora(KEY, params, LORA)
    assert found["blocks"].keys() == {"ffn_up", "ffn_down", "self_attn", "cross_attn"}
    assert found["blocks"]["self_attn"].keys() == set("qkvo")
    assert found["blocks"]["ffn_up"]["a"].shape == (2, 24, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"targets": ()}, "targets: empty"),
        (
            {"targets": ("ffn", "event_attn")},
            "targets: 'event_attn'; choose among self_attn, cross_attn, ffn",
        ),
    ],
)
def test_bad_lora_configurations(fields, message):
    with pytest.raises(ConfigError, match=f"lora: {message}"):
        LoraConfig(**fields)


def test_what_is_frozen_has_no_rate():
    with pytest.raises(ConfigError, match=r"group 'frozen' does not move"):
        train.OptimizerConfig(groups=(("frozen", 0.1),))


def test_a_lora_needs_no_gradient_and_no_sum_of_the_size_of_the_kernels():
    """As XLA plans the memory of a step; merging first, as a control, needs both."""
    config = dataclasses.replace(WAN, dim=192, ffn_dim=768, n_layers=4)
    params = DiT(config).abstract_params()
    lora = jax.eval_shape(lambda: init_lora(KEY, params, LORA))
    given = {name: x[:1] for name, x in inputs(config).items()}

    def beside(lora, params):
        return jnp.sum(DiT(config).apply({"params": params, "lora": lora}, **given) ** 2)

    def merged(lora, params):
        return jnp.sum(DiT(config).apply({"params": merge_lora(params, lora)}, **given) ** 2)

    planned = [
        jax.jit(jax.grad(f)).lower(lora, params).compile().memory_analysis().temp_size_in_bytes
        for f in (beside, merged)
    ]
    layers = ("self_attn", "cross_attn", "ffn_up", "ffn_down")
    kernels = size({name: params["blocks"][name] for name in layers})
    assert planned[0] < 0.5 * kernels < 2 * kernels < planned[1]
