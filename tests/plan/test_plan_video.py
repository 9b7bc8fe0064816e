"""What a whole video comes to, and the kernels of attention in a step of it, by hand."""

from __future__ import annotations

import dataclasses
import types

import jax
import jax.numpy as jnp
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.ops import cudnn
from alchemint_jax.ops.splash import splash
from alchemint_jax.plan.attention import attention_cost
from alchemint_jax.plan.flops import Sequence, dit_flops, traced_flops
from alchemint_jax.plan.gpus import seen_as
from alchemint_jax.plan.targets import parse_target
from alchemint_jax.plan.video import table_of, whole_video
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.step_cache import Rule, StepCache, Tables, grid_of

MODEL = DiTConfig(dim=64, n_heads=1, n_layers=3, ffn_dim=128, text_dim=32, slots=2)
TOKENS = Sequence(video=1000, references=100, tags=8, text=16)
TEN = Plan(10, 3.0, Guidance(both=5.0))
PASS = dit_flops(MODEL, TOKENS).forward


def _table(every: int) -> StepCache:
    """Every so-manieth step of ten is computed."""
    computed = tuple(i % every == 0 for i in range(10))
    branches = ("null", "both")
    ratios = ((1.0,) * 10,) * 2
    return StepCache("m", grid_of(TEN), branches, (480, 832), 81, (computed,) * 2, ratios, Rule())


def test_a_video_is_all_passes_of_all_steps():
    found = whole_video(MODEL, TOKENS, TEN)
    assert (found.steps, found.passes, found.share) == (10, 20, 10.0)
    assert found.flops == pytest.approx(20 * PASS)
    assert found.as_dict(0.5)["seconds"] == 5.0


def test_a_student_takes_its_few_passes():
    """Four of a hundred: guidance is inside."""
    fifty = whole_video(MODEL, TOKENS, dataclasses.replace(TEN, steps=50))
    student = whole_video(MODEL, TOKENS, Plan(4, 3.0, Guidance(both=1.0)))
    assert (student.passes, student.share) == (4, 4.0)
    assert fifty.flops / student.flops == pytest.approx(25)


def test_guidance_in_an_interval_leaves_passes_out():
    guided = dataclasses.replace(TEN, guidance=Guidance(both=5.0, interval=(0, 0.5)))
    found = whole_video(MODEL, TOKENS, guided)
    assert found.passes == 5 * 2 + 5 and found.share == pytest.approx(7.5)


def test_two_experts_have_guidance_of_their_own():
    pair = dataclasses.replace(TEN, boundary=0.9, guidance_low=Guidance(both=1.0))
    high = pair.high_steps()
    assert 0 < high < 10
    assert whole_video(MODEL, TOKENS, pair).passes == 2 * high + (10 - high)
    with pytest.raises(ConfigError, match="of one transformer"):
        whole_video(MODEL, TOKENS, pair, _table(5))


def test_skipped_passes_cost_embedding_and_head():
    found = whole_video(MODEL, TOKENS, TEN, _table(5))
    assert found.passes == 4
    layers = dataclasses.replace(MODEL, n_layers=0)
    ends = dit_flops(layers, Sequence(video=1000, text=0)).forward
    assert found.flops == pytest.approx(4 * PASS + 16 * ends)
    assert ends < 0.05 * PASS


def test_a_table_is_found_by_grid_and_size(tmp_path):
    path = str(tmp_path / "cache.json")
    Tables((_table(5),), path).save(path)
    assert table_of(None, TEN, (480, 832), 81) is None
    assert table_of(path, TEN, (480, 832), 81) == _table(5)
    with pytest.raises(ConfigError, match="not of videos of 720x1280"):
        table_of(path, TEN, (720, 1280), 81)


def test_kernels_are_counted_apart_and_beside_a_video_alone():
    """Padded by nothing: 1024 tokens of the video, 1024 of a reference."""
    model = DiTConfig(dim=64, n_heads=1, n_layers=1, ffn_dim=128, text_dim=32, slots=1)
    x = jax.ShapeDtypeStruct((1, 2048, 1, 64), jnp.float32)

    def step(x):
        return splash(x, x, x) + jnp.einsum("bnkd,de->bnke", x, jnp.ones((64, 64)))

    jaxpr = jax.make_jaxpr(step)(x).jaxpr
    kernels = 4 * 2048**2 * 64
    assert traced_flops(jaxpr, kernels=True) == kernels
    assert traced_flops(jaxpr) == kernels + 2 * 2048 * 64**2
    cost = attention_cost(jaxpr, model, Sequence(video=1024, references=1024, text=0), 1)
    assert (cost.pair, cost.token) == (1.0, 2.0)
    assert cost.as_dict(kernels / 2)["seconds"] == 2.0
    assert attention_cost(jax.make_jaxpr(jnp.sin)(1.0).jaxpr, model, TOKENS, 1) is None


def test_gated_attention_is_planned_for_the_gpu_that_is_not_there(monkeypatch):
    from jax._src.cudnn import fused_attention_stablehlo as kernels

    before = kernels.check_compute_capability
    with seen_as(parse_target("h100:8")):
        assert kernels.check_compute_capability("9.0")
        assert not kernels.check_compute_capability("10.0")
    with seen_as(parse_target("v5p-8")):
        assert kernels.check_compute_capability is before
    assert kernels.check_compute_capability is before and cudnn.widest() == 128
    for kind, wide in (("NVIDIA H100 80GB HBM3", 256), ("NVIDIA A100-SXM4-80GB", 128)):
        device = types.SimpleNamespace(device_kind=kind)
        mesh = types.SimpleNamespace(abstract_device=device)
        monkeypatch.setattr(jax.sharding, "get_abstract_mesh", lambda mesh=mesh: mesh)
        assert cudnn.widest() == wide
