"""What tensors are that have no place in the transformer, said so that a person can act on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.weights.layouts import dit
from alchemint_jax.weights.lora.names import Site, split

_NOT_READ = "which is not supported: merge it with the tool that made it, and load the whole model"
# Patterns of names, and what such tensors are; the first that fits.
_SIGNS = {
    r"^lora_te|^te\d?[._]|text_encoder|^text_model|umt5|\bencoder\.block\.":
        "for a text encoder (only the transformer can take a LoRA: use one trained without it)",
    r"^transformer_2\.|^dit2\.|high_noise_model|low_noise_model":
        "for one of Wan2.2's two experts (give each expert a file of its own)",
    r"\.(weight_scale|scale_weight|input_scale|SCB|qweight|qzeros|g_idx|absmax)$|quant_":
        "of quantised weights, which are not read (fetch the bf16, fp16 or fp32 edition)",
    r"vace": "for a VACE network, which is not supported",
    r"\.ia3_l|\.on_input$": f"of (IA)^3, {_NOT_READ}",
    r"\.oft_|\.boft_": f"of OFT or BOFT, {_NOT_READ}",
    r"\.vera_|\.randlora_|\.(a1|a2|b1|b2)\.weight$":
        f"of VeRA, RandLoRA or GLoRA, {_NOT_READ}",
    r"\.lora_mid\.|\.lokr_t[12]$|\.hada_t[12]$":
        "of a Tucker decomposition, which no layer of this model has",
    r"\.set_weight$|\.reshape_weight$|\.scalar$":
        f"that replace, reshape or scale weights, {_NOT_READ}",
    r"control_adapter|cam_encoder|audio|motion_encoder|face_":
        "for a network with control, speech or animation, which is not supported",
    r"double_blocks|single_blocks|single_transformer_blocks|joint_blocks|txt_|img_in":
        "for another network (as of Flux, HunyuanVideo or Qwen-Image), not for Wan's",
    r"down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block":
        "for another network (as of Stable Diffusion), not for Wan's",
    r"k_img|v_img|img_emb|image_embedder|add_[kv]_proj|norm_added_k|emb_pos":
        "for the image stream of an image-to-video model, and this one is text-to-video: "
        "load the image-to-video model, or the text-to-video edition of the LoRA",
}  # fmt: skip
_BLOCK = re.compile(r"^blocks[._](\d+)(?=[._])")
_SQUARE = re.compile(r"(self_attn|cross_attn|attn[12])[._](q|k|v|o|to_q|to_k|to_v|to_out[._]0)$")
_WIDTHS = {1536: "1.3B", 5120: "14B", 3072: "Wan2.2's TI2V-5B"}


def what_it_is(name: str, known: Mapping[str, Site], config: DiTConfig) -> str:
    """What a tensor is that there is no place for; names of a kind get the same sentence."""
    layer, part = split(name)
    block = _BLOCK.match(layer)
    first = _BLOCK.sub(lambda m: m[0].replace(m[1], "0"), layer)
    if block and int(block[1]) >= config.n_layers and first in known:
        return f"for layers that the model does not have (it has {config.n_layers})"
    for pattern, kind in _SIGNS.items():
        if re.search(pattern, name):
            return kind
    stem, _, last = layer.rpartition(".")
    if not part and (stem.removesuffix(".base_layer") in known) and last in ("weight", "bias"):
        return (
            "whole parameters and no differences (of a whole model, or trained beside a LoRA with "
            "bias or modules_to_save): merge them with the tool that made them"
        )
    return "that the model has no place for"


def other_size(shapes: Mapping[str, tuple[int, ...]], config: DiTConfig) -> str:
    """Which other model's LoRA this is, by the width and the layers of its tensors; or ""."""
    widths, blocks = set(), {-1}
    for name, shape in shapes.items():
        layer, part = split(name)
        if block := _BLOCK.match(layer):
            blocks.add(int(block[1]))
        if _SQUARE.search(layer) and shape and part in ("a", "b"):
            widths.add(shape[-1] if part == "a" else shape[0])
    count = max(blocks) + 1
    if len(widths) != 1 or (widths == {config.dim} and count <= config.n_layers):
        return ""
    [width] = widths
    theirs, ours = (f" ({_WIDTHS[n]})" if n in _WIDTHS else "" for n in (width, config.dim))
    return (
        f"It is for a transformer of width {width}{theirs} with {count} layers or more; this one "
        f"has width {config.dim}{ours} and {config.n_layers} layers."
    )


def other_inputs(name: str, shape: tuple[int, ...], config: DiTConfig) -> str:
    """What a patch embedding for other channels says; "" for all other tensors."""
    layer, part = split(name)
    if layer != "patch_embedding" or part not in ("a", "diff") or len(shape) != 5:
        return ""
    if shape[1] == config.in_channels:
        return ""
    kinds = {16: "text-to-video", 36: "image-to-video", 48: "Wan2.2's TI2V-5B"}
    theirs, ours = (
        f"{n} channels{f' ({kinds[n]})' if n in kinds else ''}"
        for n in (shape[1], config.in_channels)
    )
    return f"Its patch embedding takes {theirs}; that of this model takes {ours}."


def is_whole_model(names: Iterable[str], config: DiTConfig) -> bool:
    """Whether these are names of a transformer's own tensors, and none of a LoRA's."""
    whole = {entry.name for entry in [*dit.entries(config), *dit.original_entries(config)]}
    bare = [split(name) for name in names]
    return not any(part for _, part in bare) and any(layer in whole for layer, _ in bare)
