"""Counts from sizes against what JAX traces and what XLA counts."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from alchemint_jax.models.dit import VARIANTS, DiT, DiTConfig
from alchemint_jax.models.lora import LoraConfig, init_lora
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.plan.flops import Sequence, dit_flops, text_flops, traced_flops

pytestmark = pytest.mark.slow

# Unrolled, and with so few probabilities that there is no loop over heads, which would form them
# again: XLA's own count takes every loop for one round.
CONFIG = DiTConfig(
    dim=256, n_heads=2, n_layers=2, ffn_dim=512, text_dim=256, freq_dim=64, slots=2, unroll=2
)
B, T, R, J, L = 2, 3, 2, 8, 64
TOKENS = Sequence(video=T * 64, references=R * 64, tags=R * J, text=L)


def _inputs():
    def shape(*sizes, dtype=jnp.float32):
        return jax.ShapeDtypeStruct((B, *sizes), dtype)

    return {
        "latents": shape(T, 16, 16, 16),
        "time": shape(),
        "text": shape(L, 256),
        "references": shape(R, 16, 16, 16),
        "used": shape(R, dtype=bool),
        "intervals": shape(R, 1, 2),
        "tags": shape(R, J, 256),
        "tag_mask": shape(R, J, dtype=bool),
    }


def _forward(config):
    def run(params, inputs):
        return jnp.sum(DiT(config).apply({"params": params}, **inputs) ** 2)

    return run


def test_forward_and_training_are_what_jax_traces_and_xla_counts():
    flops = dit_flops(CONFIG, TOKENS)
    params, run = DiT(CONFIG).abstract_params(), _forward(CONFIG)
    for function, wanted in ((run, flops.forward), (jax.grad(run), flops.training(frozen=False))):
        traced = jax.jit(function).trace(params, _inputs())
        assert traced_flops(traced.jaxpr.jaxpr) == pytest.approx(B * wanted, rel=1e-9)
        # XLA also counts what is no product: norms, softmax, modulations.
        xla = traced.lower().cost_analysis()["flops"]
        assert 1.0 < xla / (B * wanted) < 1.03


def test_loops_are_counted_as_often_as_they_run_and_recomputation_is_seen():
    scanned = dataclasses.replace(CONFIG, unroll=1)
    params = DiT(CONFIG).abstract_params()
    flops = dit_flops(CONFIG, TOKENS)
    traced = jax.jit(_forward(scanned)).trace(params, _inputs())
    assert traced_flops(traced.jaxpr.jaxpr) == pytest.approx(B * flops.forward, rel=1e-9)
    assert traced.lower().cost_analysis()["flops"] < 0.7 * B * flops.forward  # not vacuous
    again = jax.jit(jax.grad(_forward(dataclasses.replace(scanned, remat="full"))))
    recomputed = traced_flops(again.trace(params, _inputs()).jaxpr.jaxpr) / B
    layers = flops.dense + flops.context + flops.attention
    assert recomputed - flops.training(frozen=False) == pytest.approx(layers, rel=0.15)


def test_a_lora_beside_frozen_weights():
    lora = LoraConfig(rank=8)
    params = DiT(CONFIG).abstract_params()
    low = jax.eval_shape(lambda p: init_lora(jax.random.key(0), p, lora), params)

    def run(low, params, inputs):
        return jnp.sum(DiT(CONFIG).apply({"params": params, "lora": low}, **inputs) ** 2)

    flops = dit_flops(CONFIG, TOKENS, lora)
    for function, wanted in ((run, flops.forward), (jax.grad(run), flops.training(frozen=True))):
        traced = jax.jit(function).trace(low, params, _inputs())
        assert traced_flops(traced.jaxpr.jaxpr) == pytest.approx(B * wanted, rel=0.02)


def test_the_text_encoder():
    config = UMT5Config(dim=64, n_heads=4, head_dim=16, ffn_dim=128, n_layers=2, vocab=16)
    ids, mask = (jax.ShapeDtypeStruct((1, 32), dtype) for dtype in (jnp.int32, bool))
    encoder = UMT5Encoder(config)
    traced = jax.jit(lambda p, i, m: encoder.apply({"params": p}, i, m)).trace(
        encoder.abstract_params(), ids, mask
    )
    assert traced_flops(traced.jaxpr.jaxpr) == pytest.approx(text_flops(config, 32), rel=1e-9)


def test_two_references_cost_at_most_a_fifth_more():
    """At 480 x 832 and 81 frames: the paper's sequence of two pictures and their words."""
    cells = 30 * 52
    for name in ("wan2.1-1.3b", "wan2.1-14b"):
        config = dataclasses.replace(VARIANTS[name], slots=3)
        without = dit_flops(config, Sequence(21 * cells)).training(frozen=False)
        two = dit_flops(config, Sequence(21 * cells, 2 * cells, 32)).training(frozen=False)
        assert 1.1 < two / without <= 1.19
