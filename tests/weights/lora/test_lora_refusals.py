"""What cannot be merged is refused before anything is, and named for what it is."""

from __future__ import annotations

import numpy as np
import pytest
from lora_setup import CONFIG, Q0, Q0_WAN, added, normal, pair, written

from alchemint_jax.errors import WeightsError
from alchemint_jax.weights.layouts import dit

NAME = f"diffusion_model.{Q0_WAN}"
ZEROS = np.zeros((2, 12), np.float32)


def refused(tmp_path, tensors):
    file = written(tmp_path / "x.safetensors", tensors)
    with pytest.raises(WeightsError) as caught:
        added(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


def one(name, *shape):
    return {name: normal(*(shape or (12, 2)))}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (one("lora_te_encoder_block_0_q.lora_down.weight"), "1 for a text encoder (only the"),
        (one("text_encoders.umt5xxl.x.lora_A.weight"), "1 for a text encoder"),
        (pair("transformer_2." + Q0), "2 for one of Wan2.2's two experts"),
        (pair("vace_blocks.0.self_attn.q"), "2 for a VACE network"),
        (one(f"{NAME}.ia3_l", 12), "1 of (IA)^3, which is not supported"),
        (one(f"{NAME}.oft_blocks", 3, 4, 4), "1 of OFT or BOFT"),
        (one(f"{NAME}.vera_lambda_b", 12), "1 of VeRA, RandLoRA or GLoRA"),
        (one(f"{NAME}.lokr_t2", 2, 2, 1, 1), "1 of a Tucker decomposition"),
        (one(f"{NAME}.reshape_weight", 2), "1 that replace, reshape or scale weights"),
        (pair("control_adapter.conv"), "2 for a network with control, speech or animation"),
        (pair("transformer.single_transformer_blocks.0.attn.to_q"), "2 for another network (as of"),
        (pair("lora_unet_down_blocks_0_attn1_to_q"), "2 for another network (as of Stable"),
        (pair("diffusion_model.blocks.0.cross_attn.k_img"), "2 for the image stream of an"),
        (one("diffusion_model.img_emb.proj.0.diff", 12), "1 for the image stream"),
        (pair("lora_unet_blocks_3_self_attn_q"), "2 for layers that the model does not"),
        (pair(Q0) | one(f"{Q0}.base_layer.bias", 12), "1 whole parameters and no differences"),
        (one("nothing.lora_A.weight"), "1 that the model has no place for"),
        (one(f"{NAME}.diff_m", 1, 6, 12), "1 that the model has no place for"),
    ],
)  # fmt: skip
def test_strangers_are_named(tmp_path, tensors, message):
    said = refused(tmp_path, tensors)
    assert message in said
    assert next(name for name in reversed(tensors)) in said


@pytest.mark.parametrize("quantised", ["lora_A", "lora_B", "both"])
def test_a_quantised_pair_is_not_also_called_half_a_pair(tmp_path, quantised):
    tensors = {
        name: np.ones(x.shape, np.int8) if quantised == "both" or quantised in name else x
        for name, x in pair(NAME).items()
    }
    tensors |= {f"{NAME}.alpha": np.float32(1), f"{NAME}.lora_A.weight_scale": normal(2, 1)}
    said = refused(tmp_path, tensors)
    count = 2 if quantised == "both" else 1
    assert f"{count} that are not floating point" in said and "1 of quantised weights" in said
    assert "only one of two" not in said and "no matrix" not in said and "no place" not in said


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({f"{NAME}.lora_A.weight": ZEROS}, "q: only one of two matrices is there: lora_A"),
        ({f"{NAME}.lora_up.weight": ZEROS.T}, "lora_B without lora_A"),
        (pair(NAME, wide=10), "self_attn.q: [2, 10] and [12, 2], the layer is [12, 12]"),
        (pair(NAME) | {f"{NAME}.lora_B.weight": normal(12, 3)}, "[2, 12] and [12, 3]"),
        ({f"{NAME}.lora_A.weight": ZEROS[:0], f"{NAME}.lora_B.weight": ZEROS[:0].T}, "has rank 0"),
        ({f"{NAME}.diff": ZEROS[:0]}, "has nothing in it ([0, 12])"),
        ({f"{NAME}.diff_b": normal(10)}, "diff of bias: [10], the layer is [12]"),
        ({f"{NAME}.alpha": np.float32(1)}, "there is alpha, but no matrix that it is for"),
        ({f"{NAME}.lora_B.bias": normal(12)}, "there is bias of b, but no matrix"),
        (pair(NAME) | {f"{NAME}.alpha": normal(2)}, "alpha is [2], not one number"),
        (pair(NAME) | {f"{NAME}.alpha": np.float32("nan")}, "alpha holds 1 NaN"),
        (pair(NAME) | {f"{NAME}.dora_scale": normal(5)}, "magnitudes of DoRA are [5]"),
        (pair(NAME) | {f"{NAME}.diff": normal(12, 12)}, "self_attn.q: LoRA and full difference"),
        (pair(NAME) | pair(f"transformer.{Q0}"), f"transformer.{Q0}.lora_A.weight"),
        (pair("blocks.0.self_attn.norm_q"), "but there is a vector [12]"),
        ({f"{NAME}.hada_w1_a": normal(12, 2)}, "3 of the four matrices of LoHa are missing"),
        ({f"{NAME}.lokr_w1": normal(3, 2)}, "one of the two factors of LoKr is missing"),
        ({f"{NAME}.lokr_w1": normal(3, 2), f"{NAME}.lokr_w2": normal(5, 6)}, "[3, 2] times [5, 6]"),
        ({f"{NAME}.diff": np.ones((12, 12), np.int8)}, "1 that are not floating point"),
        ({"blocks.0.diff_m": normal(1, 6, 12), "blocks.0.modulation.diff": normal(1, 6, 12)},
         "1 that change what others change as well"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_said(tmp_path, tensors, message):
    if "transformer.blocks" in message:  # which of the two is named first depends on the file
        said = refused(tmp_path, tensors)
        assert "2 that are there twice" in said and f"transformer.{Q0}.lora_A.weight" in said
    else:
        assert message in refused(tmp_path, tensors)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ending", ["lora_B.weight", "diff_b", "dora_scale"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value, ending):
    tensors = pair(NAME) | {f"{NAME}.diff_b": normal(12), f"{NAME}.dora_scale": normal(12)}
    tensors[f"{NAME}.{ending}"].flat[3] = value
    said = refused(tmp_path, tensors)
    what = "NaN" if np.isnan(value) else "infinite"
    size = tensors[f"{NAME}.{ending}"].size
    assert f"tensor {NAME}.{ending} holds 1 {what} among {size} values" in said


def test_a_lora_of_another_size_is_said_to_be_one(tmp_path):
    tensors = {}
    for i in range(4):
        tensors |= pair(f"diffusion_model.blocks.{i}.self_attn.q", wide=1536, out=1536)
    said = refused(tmp_path, tensors)
    assert (
        "It is for a transformer of width 1536 (1.3B) with 4 layers or more; this one has width 12 "
        "and 2 layers."
    ) in said
    assert "4 for layers that the model does not have" in said


def test_a_patch_embedding_for_other_channels_is_said_to_be_one(tmp_path):
    said = refused(tmp_path, {"diffusion_model.patch_embedding.diff": normal(12, 36, 1, 2, 2)})
    assert "takes 36 channels (image-to-video); that of this model takes 4 channels." in said


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
    tensors = (
        pair("lora_te_a") | pair(NAME, wide=10) | pair("diffusion_model.blocks.0.cross_attn.k_img")
    )
    said = refused(tmp_path, tensors)
    for part in ("2 for a text encoder", "1 whose matrices do not fit", "2 for the image stream"):
        assert part in said


def test_what_is_no_lora_file(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing.safetensors: there is no such LoRA"):
        added(tmp_path / "nothing.safetensors")
    with pytest.raises(WeightsError, match=r"x.safetensors:0,5: .* a colon there must be a number"):
        added(tmp_path / "x.safetensors:0,5")
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(WeightsError, match=r"x.safetensors is truncated"):
        added(tmp_path / "x.safetensors")
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"x.pt may be a pickle"):
        added(tmp_path / "x.pt")
    assert "holds no tensors" in refused(tmp_path, {})
    whole = {entry.name: np.zeros(1, np.float32) for entry in dit.original_entries(CONFIG)}
    assert "is a whole transformer and no LoRA: pass it as the model" in refused(tmp_path, whole)
