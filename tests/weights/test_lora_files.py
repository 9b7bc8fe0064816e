"""LoRA files: what diffusers, ComfyUI and trainers write is read; ours mean the same to each."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.lora import LoraConfig, init_lora, merge_lora
from alchemint_jax.weights.lora import load_lora, save_lora

CONFIG = DiTConfig(
    dim=12, n_heads=2, n_layers=2, ffn_dim=20, in_channels=4, out_channels=4, text_dim=6, freq_dim=8
)
RANK, SCALE = 3, 0.7
Q0 = "blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def params():
    shapes = DiT(CONFIG).abstract_params()
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def lora(params):
    fresh = init_lora(jax.random.key(0), params, LoraConfig(rank=RANK))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), fresh)


def pair(name, rng, wide=12, out=12, rank=2, endings=("lora_A", "lora_B")):
    """The two matrices of a layer, as torch has them."""
    a, b = rng.normal(size=(rank, wide)), rng.normal(size=(out, rank))
    return {
        f"{name}.{ending}.weight": x.astype(np.float32)
        for ending, x in zip(endings, (a, b), strict=True)
    }


def written(path, tensors, metadata=None):
    save_file(tensors, path, metadata=metadata)
    return path


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_what_is_saved_merges_to_the_same(tmp_path, params, lora, form):
    path = save_lora(tmp_path / "made" / "style.safetensors", CONFIG, lora, SCALE, form)
    again = merge_lora(params, load_lora(path, CONFIG))
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


@pytest.mark.parametrize(
    ("layer", "endings"),
    [
        (f"transformer.{Q0}", ("lora_A", "lora_B")),
        (f"transformer.{Q0}", ("lora_down", "lora_up")),
        (Q0, ("lora_A.default", "lora_B.default")),
        ("diffusion_model.blocks.0.self_attn.q", ("lora_A", "lora_B")),
        ("diffusion_model.blocks.0.self_attn.q", ("lora_down", "lora_up")),
        ("base_model.model.blocks.0.self_attn.q", ("lora_A", "lora_B")),
        ("lora_unet_blocks_0_self_attn_q", ("lora_down", "lora_up")),
    ],
)
@pytest.mark.parametrize("alpha", [None, 8.0])
def test_every_spelling_is_read(tmp_path, layer, endings, alpha):
    tensors = pair(layer, np.random.default_rng(2), endings=endings)
    a, b = tensors.values()
    extra = {} if alpha is None else {f"{layer}.alpha": np.asarray(alpha, np.float32)}
    q = load_lora(written(tmp_path / "x.safetensors", tensors | extra), CONFIG)
    assert q.keys() == {"blocks"} and q["blocks"].keys() == {"self_attn"}
    q = q["blocks"]["self_attn"]["q"]
    scale = 1 if alpha is None else alpha / 2
    np.testing.assert_allclose(q["a"][0] @ q["b"][0], scale * (b @ a).T, rtol=1e-5, atol=1e-6)
    assert not q["b"][1].any(), "the file says nothing about the second layer"


def test_layers_of_different_rank_and_layers_outside_the_stack(tmp_path):
    rng = np.random.default_rng(3)
    tensors = pair("transformer.blocks.0.attn1.to_q", rng, rank=1)
    tensors |= pair("transformer.blocks.1.attn1.to_q", rng, rank=4)
    tensors |= pair("transformer.condition_embedder.time_proj", rng, out=72)
    values = list(tensors.values())
    lora = load_lora(written(tmp_path / "x.safetensors", tensors), CONFIG)
    q = lora["blocks"]["self_attn"]["q"]
    assert q["a"].shape == (2, 12, 4)
    for i in (0, 1):
        product = (values[2 * i + 1] @ values[2 * i]).T
        np.testing.assert_allclose(q["a"][i] @ q["b"][i], product, rtol=1e-5, atol=1e-6)
    time = lora["time"]["projection"]
    np.testing.assert_allclose(
        time["a"] @ time["b"], (values[5] @ values[4]).T, rtol=1e-5, atol=1e-6
    )


def test_half_precision_and_the_alpha_of_diffusers_metadata(tmp_path):
    tensors = {
        name: x.astype(np.float16)
        for name, x in pair(f"transformer.{Q0}", np.random.default_rng(4)).items()
    }
    a, b = (x.astype(np.float32) for x in tensors.values())
    about = {"transformer.r": 2, "transformer.lora_alpha": 5, "transformer.use_rslora": False}
    metadata = {"lora_adapter_metadata": json.dumps(about)}
    lora = load_lora(written(tmp_path / "x.safetensors", tensors, metadata), CONFIG)
    q = lora["blocks"]["self_attn"]["q"]
    np.testing.assert_allclose(q["a"][0] @ q["b"][0], 2.5 * (b @ a).T, rtol=1e-5, atol=1e-6)
    metadata = {"lora_adapter_metadata": json.dumps(about | {"transformer.use_rslora": True})}
    with pytest.raises(WeightsError, match=r"x.safetensors: use_rslora=True .* not supported"):
        load_lora(written(tmp_path / "x.safetensors", tensors, metadata), CONFIG)


def test_all_that_does_not_fit_is_listed(tmp_path):
    rng = np.random.default_rng(5)
    tensors = pair("transformer.blocks.2.attn1.to_q", rng)  # there are two layers
    tensors |= pair("transformer.blocks.0.attn1.to_k", rng, wide=10)
    tensors["transformer.blocks.0.attn1.to_v.lora_A.weight"] = np.zeros((2, 12), np.float32)
    tensors["diffusion_model.blocks.0.self_attn.o.diff_b"] = np.zeros(12, np.float32)
    tensors |= {f"transformer.{Q0}.lora_A.weight": np.zeros((2, 12), np.float16)}
    tensors |= {f"transformer.{Q0}.lora_B.weight": np.zeros((12, 2), np.int8)}
    path = written(tmp_path / "x.safetensors", tensors)
    with pytest.raises(WeightsError) as caught:
        load_lora(path, CONFIG)
    message = str(caught.value)
    for part in (
        f"{path} is not a LoRA",
        "4 that the model has no place for",
        "transformer.blocks.2.attn1.to_q.lora_A.weight [2, 12]",
        "diff_b",
        "I8",
        "3 that are not two matrices",
        "transformer.blocks.0.attn1.to_k: [2, 10] and [12, 2], the layer is [12, 12]",
        "transformer.blocks.0.attn1.to_v: only one of two",
    ):
        assert part in message, part


def test_what_is_no_lora_file(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing.safetensors: there is no such"):
        load_lora(tmp_path / "nothing.safetensors", CONFIG)
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(WeightsError, match=r"x.safetensors is truncated"):
        load_lora(tmp_path / "x.safetensors", CONFIG)
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"x.pt may be a pickle"):
        load_lora(tmp_path / "x.pt", CONFIG)
    with pytest.raises(WeightsError, match=r"holds no tensors"):
        load_lora(written(tmp_path / "empty.safetensors", {}), CONFIG)


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
