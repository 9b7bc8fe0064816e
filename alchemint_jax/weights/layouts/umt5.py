"""The UMT5 encoder as Hugging Face transformers stores it (`UMT5EncoderModel`).

This is `text_encoder/` of Wan2.1's diffusers repositories: Google's google/umt5-xxl, unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.umt5 import UMT5Config
from alchemint_jax.weights.layouts.moves import COPY, LINEAR, Entry

ALIASES = {"encoder.embed_tokens.weight": "shared.weight"}
"""Second names of tied tensors: a file may hold either name, or both with the same values."""

# Theirs: our field, type, and the value where config.json leaves it out (None: it must not).
_FIELDS: dict[str, tuple[str, type, Any]] = {
    "vocab_size": ("vocab", int, None),
    "d_model": ("dim", int, None),
    "num_heads": ("n_heads", int, None),
    "d_kv": ("head_dim", int, None),
    "d_ff": ("ffn_dim", int, None),
    "num_layers": ("n_layers", int, None),
    "relative_attention_num_buckets": ("n_buckets", int, 32),
    "relative_attention_max_distance": ("max_distance", int, 128),
    "layer_norm_epsilon": ("eps", float, 1e-6),
}
# What our network is, as they say it. Only model_type has no default there.
_FIXED = {
    "model_type": "umt5",
    "feed_forward_proj": "gated-gelu",
    "is_gated_act": True,
    "dense_act_fn": "gelu_new",
    "is_decoder": False,
}

_BLOCK = {
    "layer.0.layer_norm": "norm1.scale",
    "layer.0.SelfAttention.q": "attn.q.kernel",
    "layer.0.SelfAttention.k": "attn.k.kernel",
    "layer.0.SelfAttention.v": "attn.v.kernel",
    "layer.0.SelfAttention.o": "attn.o.kernel",
    "layer.0.SelfAttention.relative_attention_bias": "attn.relative_bias",
    "layer.1.layer_norm": "norm2.scale",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.kernel",
    "layer.1.DenseReluDense.wi_1": "ffn.up.kernel",
    "layer.1.DenseReluDense.wo": "ffn.down.kernel",
}


def entries(config: UMT5Config) -> list[Entry]:
    """Every tensor of a `UMT5EncoderModel` of these sizes; see also `ALIASES`."""
    layout = [Entry("shared.weight", "embedding")]
    for i in range(config.n_layers):
        for theirs, ours in _BLOCK.items():
            # The bias table is an nn.Embedding, which lies as ours does.
            move = LINEAR if ours.endswith("kernel") else COPY
            layout.append(Entry(f"encoder.block.{i}.{theirs}.weight", f"blocks.{ours}", move, i))
    return [*layout, Entry("encoder.final_layer_norm.weight", "norm.scale")]


def config_from_diffusers(
    values: Mapping[str, Any], where: str = "text_encoder/config.json"
) -> UMT5Config:
    """Our configuration from transformers' config.json.

    Fields about training, generation and the decoder are ignored.

    Raises:
        WeightsError: naming file and fields, where it describes another network than UMT5's
            encoder with a tanh-GELU gate, or a size is missing or no positive number.
    """
    problems = [
        f"{name} is {values[name]!r}, but only {wanted!r} is supported"
        for name, wanted in _FIXED.items()
        if name in values and values[name] != wanted
    ]
    if "model_type" not in values:
        problems.append("model_type is missing; it must be 'umt5'")
    fields = {}
    for theirs, (ours, kind, default) in _FIELDS.items():
        value = values.get(theirs, default)
        if value is None:
            problems.append(f"{theirs} is missing")
        elif type(value) not in (int, kind) or value <= 0:
            noun = "whole number" if kind is int else "number"
            problems.append(f"{theirs} is {value!r}; it must be a positive {noun}")
        fields[ours] = value
    if problems:
        raise WeightsError(f"{where}: not a UMT5 encoder that can be read: {'; '.join(problems)}")
    try:
        return UMT5Config(**{**fields, "eps": float(fields["eps"])})
    except ConfigError as e:
        raise WeightsError(f"{where}: {e}") from e


def config_to_diffusers(config: UMT5Config) -> dict[str, Any]:
    """The config.json with which `transformers.UMT5EncoderModel` loads the weights."""
    return {
        "architectures": ["UMT5EncoderModel"],
        **_FIXED,
        **{theirs: getattr(config, ours) for theirs, (ours, _, _) in _FIELDS.items()},
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.1,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }
