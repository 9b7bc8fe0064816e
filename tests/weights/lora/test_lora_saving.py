"""LoRA files that we write: they mean the same to us, to diffusers and to ComfyUI."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from lora_setup import CONFIG, PARAMS, merged
from safetensors.numpy import load_file

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.lora import LoraConfig, init_lora, merge_lora
from alchemint_jax.weights.lora import save_lora

RANK, SCALE = 3, 0.7


@pytest.fixture(scope="module")
def params():
    return PARAMS


@pytest.fixture(scope="module")
def lora(params):
    fresh = init_lora(jax.random.key(0), params, LoraConfig(rank=RANK))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), fresh)


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_what_is_saved_merges_to_the_same(tmp_path, params, lora, form):
    path = save_lora(tmp_path / "made" / "style.safetensors", CONFIG, lora, SCALE, form)
    again = merged([(path, 1.0)])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        again,
        merge_lora(params, lora, SCALE),
    )
    assert np.abs(again["blocks"]["ffn_up"]["kernel"] - params["blocks"]["ffn_up"]["kernel"]).max()
    assert [p.name for p in path.parent.iterdir()] == ["style.safetensors"]


def test_files_have_the_names_that_others_look_for(tmp_path, lora):
    ours = lora["blocks"]["cross_attn"]["o"]
    down, up = ours["a"][1].T, ours["b"][1].T
    found = load_file(save_lora(tmp_path / "a.safetensors", CONFIG, lora, SCALE))
    assert len(found) == 2 * 10 * CONFIG.n_layers
    np.testing.assert_array_equal(found["transformer.blocks.1.attn2.to_out.0.lora_A.weight"], down)
    # diffusers takes alpha = rank where none is given: the scale has to be in a matrix.
    np.testing.assert_allclose(
        found["transformer.blocks.1.attn2.to_out.0.lora_B.weight"], SCALE * up, rtol=1e-6
    )
    assert found["transformer.blocks.0.ffn.net.0.proj.lora_B.weight"].shape == (20, RANK)
    found = load_file(save_lora(tmp_path / "b.safetensors", CONFIG, lora, SCALE, "comfyui"))
    assert len(found) == 3 * 10 * CONFIG.n_layers
    layer = "diffusion_model.blocks.1.cross_attn.o"
    np.testing.assert_array_equal(found[f"{layer}.lora_down.weight"], down)
    np.testing.assert_array_equal(found[f"{layer}.lora_up.weight"], up)
    assert found[f"{layer}.alpha"].shape == ()
    assert float(found[f"{layer}.alpha"]) == pytest.approx(SCALE * RANK)
    assert found["diffusion_model.blocks.0.ffn.2.lora_down.weight"].shape == (RANK, 20)


def test_what_cannot_be_saved(tmp_path, lora):
    extra = {**lora, "subjects": {"tag_in": lora["blocks"]["self_attn"]["q"]}}
    with pytest.raises(WeightsError, match=r"no linear layer of the name subjects.tag_in"):
        save_lora(tmp_path / "x.safetensors", CONFIG, extra)
    with pytest.raises(WeightsError, match=r"neither 'diffusers' nor 'comfyui'"):
        save_lora(tmp_path / "x.safetensors", CONFIG, lora, format="kohya")
    with pytest.raises(WeightsError, match=r"x.bin: .* a .safetensors file"):
        save_lora(tmp_path / "x.bin", CONFIG, lora)
    assert not list(tmp_path.iterdir())


def test_a_lora_of_another_model_is_not_merged(params, lora):
    other = jax.tree.map(lambda x: x[..., :-1], lora)
    with pytest.raises(WeightsError, match=r"blocks.ffn_up: a \[2, 12, 2\] and b \[2, 3, 19\]"):
        merge_lora(params, other)
    with pytest.raises(WeightsError, match=r"head2.kernel is not in the model"):
        merge_lora(params, {"head2": {"a": np.zeros((1, 1)), "b": np.zeros((1, 1))}})
