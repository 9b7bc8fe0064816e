"""What strange tensors and fields say about the model that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemint_jax.errors import WeightsError
from alchemint_jax.weights.tensors import Tensor

_EDITION = "which is not read: fetch the edition in bf16, fp16 or fp32"
# Parts of names of tensors that only quantised weights have, and whose they are.
_QUANTISED = {
    ".quant_state.": "bitsandbytes, 4 bits",
    "absmax": "bitsandbytes",
    ".SCB": "bitsandbytes, 8 bits",
    ".qweight": "GPTQ, AWQ or the like",
    ".qzeros": "GPTQ, AWQ or the like",
    ".g_idx": "GPTQ",
    ".wscales": "SVDQuant",
    ".weight_packed": "compressed-tensors",
    ".weight._data": "quanto",
    "scaled_fp8": "8-bit floats with scales",
    ".scale_weight": "8-bit floats with scales",
    ".scale_input": "8-bit floats with scales",
    ".weight_scale": "8-bit numbers with scales",
    ".input_scale": "8-bit numbers with scales",
    ".comfy_quant": "ComfyUI's",
}
# Parts of names, and what a file with such a tensor is.
_SIGNS = {
    "lora_": "a LoRA, not a whole network: pass it beside its base model",
    "lokr_": "a LoKr, not a whole network: pass it as a LoRA, beside its base model",
    "hada_": "a LoHa, not a whole network: pass it as a LoRA, beside its base model",
    ".diff": "differences of a network: pass them as a LoRA, beside their base model",
    "vace_": "a VACE network, which is not supported",
    "gate_compress": "a network of sparse attention with gates, which is not supported",
    "motion_encoder": "an animate network, which is not supported",
    "audio": "a network for speech, which is not supported",
    "control_adapter": "a control network, which is not supported",
    "add_k_proj": "an image-to-video network",
    "k_img": "an image-to-video network",
    "image_embedder": "an image-to-video network",
    "img_emb": "an image-to-video network",
}
# By the channels that go in.
_CHANNELS = {
    16: "a text-to-video network",
    36: "an image-to-video network",
    48: "Wan2.2's TI2V-5B",
}


def hint(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> str:
    """What the tensors of a file say about it that are not `wanted`; nothing if they do not."""
    strange = [name for name in found if name not in wanted]
    for sign, maker in _QUANTISED.items():
        if any(sign in name for name in strange):
            return f"The weights are quantised ({maker}), {_EDITION}."
    if any(found[name].dtype in ("U8", "I8") for name in found if name.endswith(".weight")):
        return f"The weights are quantised (whole numbers), {_EDITION}."
    if any(tensor.dtype.startswith("F8") for tensor in found.values()):
        return f"8-bit weights are not read: {_EDITION.partition(': ')[2]}."
    kinds = [kind for sign, kind in _SIGNS.items() if any(sign in name for name in strange)]
    patches = "patch_embedding.weight"
    if patches in wanted and patches in found and found[patches].shape[1:2] != wanted[patches][1:2]:
        kinds += [_CHANNELS[n] for n in found[patches].shape[1:2] if n in _CHANNELS]
    return f"The file is that of {kinds[0]}; another network was expected." if kinds else ""


def refuse_quantised(values: Mapping[str, Any], where: str) -> None:
    """Raises a WeightsError if a config.json says that the weights are quantised."""
    fields = values.get("quantization_config")
    if not fields:
        return
    said = fields if isinstance(fields, Mapping) else {}
    names = ("quant_method", "quant_type", "bnb_4bit_quant_type")
    kind = ", ".join(str(said[name]) for name in names if said.get(name)) or "quantization_config"
    raise WeightsError(f"{where}: the weights are quantised ({kind}), {_EDITION}")
