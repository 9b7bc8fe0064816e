"""What files of other tools do to the weights, against formulas written out with NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from lora_setup import (
    CONFIG,
    IMAGE,
    PARAMS,
    Q0,
    Q0_WAN,
    added,
    close,
    merged,
    normal,
    pair,
    random_params,
    written,
)

from alchemint_jax.weights.lora import load_loras, merge
from alchemint_jax.weights.tensors import in_memory

DOWN_UP = ("lora_down", "lora_up")
KERNEL = "blocks.0.self_attn.q.kernel"
W0 = PARAMS["blocks"]["self_attn"]["q"]["kernel"][0].T  # as torch has it
LOHA = {
    f"hada_w{i}_{x}": normal(*s, seed=i)
    for i in (1, 2)
    for x, s in (("a", (12, 3)), ("b", (3, 12)))
}


@pytest.mark.parametrize(
    ("layer", "endings"),
    [
        (f"transformer.{Q0}", ("lora_A", "lora_B")),
        (f"transformer.{Q0}", DOWN_UP),
        (f"base_model.model.{Q0}", ("lora_A", "lora_B")),
        (Q0, ("lora_A.default", "lora_B.default")),
        (f"transformer.{Q0}", ("lora.down", "lora.up")),
        (f"diffusion_model.{Q0_WAN}", ("lora_A", "lora_B")),
        (f"diffusion_model.{Q0_WAN}", DOWN_UP),
        (f"base_model.model.{Q0_WAN}", ("lora_A.mine", "lora_B.mine")),
        (f"model.diffusion_model.{Q0_WAN}", ("lora_A", "lora_B")),
        (f"pipe.dit.{Q0_WAN}", ("lora_A.default", "lora_B.default")),
        ("diffusion_model.blocks.0._orig_mod.self_attn.q", ("lora_A", "lora_B")),
        ("lora_unet_blocks_0_self_attn_q", DOWN_UP),
        ("lora_unet__blocks_0_self_attn_q", DOWN_UP),
        ("lora_unet__orig_mod_blocks_0_self_attn_q", DOWN_UP),
        ("lora_transformer_blocks_0_attn1_to_q", DOWN_UP),
        ("lycoris_blocks_0_self_attn_q", DOWN_UP),
    ],
)
@pytest.mark.parametrize("alpha", [None, np.float32(8), np.int64(8), np.float16([8])])
def test_every_spelling_is_read(tmp_path, layer, endings, alpha):
    tensors = pair(layer, endings=endings)
    a, b = tensors.values()
    extra = {} if alpha is None else {f"{layer}.alpha": np.asarray(alpha)}
    found = added(written(tmp_path / "x.safetensors", tensors | extra))
    assert found.keys() == {KERNEL}
    close(found[KERNEL], (1 if alpha is None else 4) * (b @ a).T)


def test_layers_of_different_rank_and_layers_outside_the_stack(tmp_path):
    tensors = pair("transformer.blocks.0.attn1.to_q", rank=1)
    tensors |= pair("transformer.blocks.1.attn1.to_q", rank=4)
    tensors |= pair("transformer.condition_embedder.time_proj", out=72)
    v = list(tensors.values())
    found = added(written(tmp_path / "x.safetensors", tensors))
    assert found.keys() == {KERNEL, KERNEL.replace("0", "1"), "time.projection.kernel"}
    for product, change in zip(
        (v[1] @ v[0], v[3] @ v[2], v[5] @ v[4]), found.values(), strict=True
    ):
        close(change, product.T)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, "bfloat16"])
def test_other_precisions_are_summed_in_float32(tmp_path, dtype):
    tensors = {k: x.astype(dtype) for k, x in pair(f"transformer.{Q0}").items()}
    a, b = (x.astype(np.float32) for x in tensors.values())
    found = added(written(tmp_path / "x.safetensors", tensors), 0.5)
    close(found[KERNEL], 0.5 * (b @ a).T)


def test_full_differences_of_weights_biases_norms_and_modulations(tmp_path):
    """As ComfyUI's and LightX2V's tools extract them; the patch embedding is a convolution."""
    wan = {
        f"{Q0_WAN}.diff_b": (12,),
        "blocks.0.ffn.0.diff": (20, 12),
        "blocks.0.norm3.diff": (12,),
        "blocks.0.norm3.diff_b": (12,),
        "blocks.0.self_attn.norm_k.diff": (12,),
        "blocks.0.diff_m": (1, 6, 12),
        "head.diff_m": (1, 2, 12),
        "head.head.diff": (16, 12),
        "patch_embedding.diff": (12, 4, 1, 2, 2),
    }
    values = {name: normal(*shape) for name, shape in wan.items()}
    tensors = {f"diffusion_model.{name}": x for name, x in values.items()}
    found = added(written(tmp_path / "x.safetensors", tensors), 2.0)
    v = list(values.values())
    wanted = {
        "blocks.0.self_attn.q.bias": v[0],
        "blocks.0.ffn_up.kernel": v[1].T,
        "blocks.0.norm_cross_scale": v[2],
        "blocks.0.norm_cross_bias": v[3],
        "blocks.0.self_attn.norm_k": v[4],
        "blocks.0.modulation": v[5],
        "head_modulation": v[6],
        "head.kernel": v[7].T,
        # Rows of ours are (row, column, channel) of a patch.
        "patch_embedding.kernel": v[8][:, :, 0].transpose(2, 3, 1, 0).reshape(16, 12),
    }
    assert found.keys() == wanted.keys()
    for path, x in wanted.items():
        close(found[path], 2 * x)


def test_a_lora_of_the_patch_embedding_is_a_convolution(tmp_path):
    a, b = normal(3, 4, 1, 2, 2), normal(12, 3, 1, 1, 1)
    name = "diffusion_model.patch_embedding"
    tensors = {f"{name}.lora_down.weight": a, f"{name}.lora_up.weight": b}
    found = added(written(tmp_path / "x.safetensors", tensors))
    product = np.einsum("or,rchw->hwco", b[:, :, 0, 0, 0], a[:, :, 0]).reshape(16, 12)
    close(found["patch_embedding.kernel"], product)


def test_a_bias_of_peft_counts_as_its_matrices_do(tmp_path):
    tensors = pair(f"transformer.{Q0}") | {f"transformer.{Q0}.lora_B.bias": normal(12)}
    tensors[f"transformer.{Q0}.alpha"] = np.float32(6)
    found = added(written(tmp_path / "x.safetensors", tensors))
    close(found["blocks.0.self_attn.q.bias"], 3 * normal(12))


@pytest.mark.parametrize("ending", ["dora_scale", "lora_magnitude_vector", "columns"])
def test_dora_sets_the_norm_of_each_row_or_column(tmp_path, ending):
    tensors = pair(f"diffusion_model.{Q0_WAN}") | {f"diffusion_model.{Q0_WAN}.alpha": np.float32(1)}
    a, b, _ = tensors.values()
    size = np.abs(normal(12, seed=7)) + 0.1
    axis = 0 if ending == "columns" else 1
    shape = {"dora_scale": (12, 1), "columns": (1, 12)}.get(ending, (12,))
    ending = "dora_scale" if ending == "columns" else ending
    file = written(
        tmp_path / "x.safetensors",
        tensors | {f"diffusion_model.{Q0_WAN}.{ending}": size.reshape(shape)},
    )
    q = merged([(file, 1.0)])["blocks"]["self_attn"]["q"]["kernel"][0].T
    close(np.linalg.norm(q, axis=axis), size)
    moved = W0 + 0.5 * b @ a
    close(q, moved * np.expand_dims(size, axis) / np.linalg.norm(moved, axis=axis, keepdims=True))
    close(added(file, 0.5)[KERNEL], 0.5 * (q - W0).T)  # from the plain weight to that, in a line


def test_a_row_of_zeros_has_no_direction(tmp_path):
    name = f"diffusion_model.{Q0_WAN}"
    tensors = {f"{name}.diff": -W0, f"{name}.dora_scale": np.ones((12, 1), np.float32)}
    q = merged([(written(tmp_path / "x.safetensors", tensors), 1.0)])["blocks"]["self_attn"]["q"]
    assert not q["kernel"][0].any()


def test_loha_is_the_product_by_elements_of_two_products(tmp_path):
    tensors = {f"lora_unet_blocks_0_self_attn_q.{name}": x for name, x in LOHA.items()}
    tensors["lora_unet_blocks_0_self_attn_q.alpha"] = np.float32(6)
    a1, b1, a2, b2 = LOHA.values()
    found = added(written(tmp_path / "x.safetensors", tensors))
    close(found[KERNEL], 2 * ((a1 @ b1) * (a2 @ b2)).T)


@pytest.mark.parametrize("parts", ["whole", "second", "both"])
def test_lokr_is_a_kronecker_product_of_whole_or_split_matrices(tmp_path, parts):
    first, second = normal(3, 2), normal(4, 6)
    tensors = {"lokr_w1": first, "lokr_w2": second}
    if parts != "whole":
        tensors = {"lokr_w1": first, "lokr_w2_a": normal(4, 2), "lokr_w2_b": normal(2, 6)}
        second = tensors["lokr_w2_a"] @ tensors["lokr_w2_b"]
    if parts == "both":
        del tensors["lokr_w1"]
        tensors |= {"lokr_w1_a": normal(3, 1), "lokr_w1_b": normal(1, 2)}
        first = normal(3, 1) @ normal(1, 2)
    # Of whole matrices alpha means nothing; ai-toolkit writes such a number.
    tensors["alpha"] = np.float32(9999999999 if parts == "whole" else 6)
    named = {f"diffusion_model.{Q0_WAN}.{name}": x for name, x in tensors.items()}
    found = added(written(tmp_path / "x.safetensors", named))
    product = np.einsum("ab,cd->acbd", first, second).reshape(12, 12)
    close(found[KERNEL], (1 if parts == "whole" else 3) * product.T)


def test_an_image_to_video_lora_fits_an_image_to_video_model(tmp_path):
    tensors = pair("diffusion_model.blocks.0.cross_attn.k_img")
    tensors |= pair("diffusion_model.img_emb.proj.1", wide=10, out=10)
    tensors |= {"diffusion_model.blocks.0.cross_attn.norm_k_img.diff": normal(12)}
    tensors |= {"diffusion_model.patch_embedding.diff": normal(12, 9, 1, 2, 2)}
    file = written(tmp_path / "x.safetensors", tensors)
    found = added(file, config=IMAGE, params=random_params(IMAGE))
    assert found.keys() == {
        "blocks.0.cross_attn.k_img.kernel", "image.first.kernel",
        "blocks.0.cross_attn.norm_k_img", "patch_embedding.kernel",
    }  # fmt: skip


def test_the_order_of_several_does_not_matter_even_with_dora(tmp_path):
    name = f"diffusion_model.{Q0_WAN}"
    files = []
    for i, extra in enumerate(({}, {f"{name}.dora_scale": np.full((12, 1), 3, np.float32)})):
        for seed in (1, 2):
            tensors = pair(name, seed=4 * i + seed) | extra
            files.append((written(tmp_path / f"{i}{seed}.safetensors", tensors), 0.3 + i))
    there, back = (
        merged(given)["blocks"]["self_attn"]["q"]["kernel"] for given in (files, files[::-1])
    )
    close(there, back, 1e-6)
    close(there[0] - W0.T, sum(added(*given)[KERNEL] for given in files))
    assert (
        merged({files[0][0]: 0})["blocks"]["self_attn"]["q"]["kernel"][0].T.tolist() == W0.tolist()
    )


def test_a_small_change_is_not_lost_in_a_rounded_base(tmp_path):
    """The sum is made before it is rounded to what is held: each alone would be lost."""
    kernel = np.ones((2, 12, 12), jnp.bfloat16)
    tensors = {"diffusion_model.blocks.0.self_attn.q.diff": np.full((12, 12), 3e-3, np.float32)}
    files = [(written(tmp_path / f"{i}.safetensors", tensors), 1.0) for i in range(2)]
    path = "blocks.self_attn.q.kernel"
    loras = load_loras(files, CONFIG, {path: kernel.shape})
    found = merge({path: in_memory(kernel)}, loras)[path].read()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], 1.006, rtol=1e-6)
    assert found[0].astype(jnp.bfloat16)[0, 0] > 1 == np.asarray(1.003, jnp.bfloat16)


def test_a_box_of_a_changed_weight_reads_the_same_rows_and_columns_of_a_pair(tmp_path):
    kernel = np.asarray(PARAMS["blocks"]["self_attn"]["q"]["kernel"])
    path, box = "blocks.self_attn.q.kernel", ((0, 1), (3, 7), (4, 10))
    for extra, whole in (({}, False), ({f"{Q0}.dora_scale": normal(12, 1)}, True)):
        file = written(tmp_path / "x.safetensors", pair(Q0) | extra)
        loras = load_loras([(file, 0.5)], CONFIG, {path: kernel.shape})
        tensor = merge({path: in_memory(kernel)}, loras)[path]
        close(tensor.read(box), tensor.read()[0:1, 3:7, 4:10])
        asked = {piece.name.split(".")[-2]: piece.box for piece in tensor.pieces(box)}
        rows, columns = ((0, 12), (0, 12)) if whole else ((4, 10), (3, 7))
        assert (asked["lora_B"], asked["lora_A"]) == ((rows, (0, 2)), ((0, 2), columns))
