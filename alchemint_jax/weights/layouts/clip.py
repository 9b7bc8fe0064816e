"""transformers' CLIPVisionModel and CLIPVisionModelWithProjection: Wan2.1's `image_encoder/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.models.clip import CLIPVisionConfig
from alchemint_jax.weights.layouts.moves import COPY, LINEAR, Entry, patches

PREFIX = "vision_model."
"""Of all names in published files; transformers 5 leaves it out of files of CLIPVisionModel."""

IGNORED = (
    "visual_projection.weight",
    "embeddings.position_ids",
    PREFIX + "embeddings.position_ids",
)
"""Tensors that may be in such a file and are not of the tower (or hold no weights)."""

_FIELDS = {
    "image_size": "image_size",
    "patch_size": "patch_size",
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "ffn_dim",
    "layer_norm_eps": "eps",
}
# What an absent field means in transformers.
_DEFAULTS = {
    "image_size": 224,
    "patch_size": 32,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-5,
}
# What this tower can only be.
_FIXED = {"model_type": "clip_vision_model", "hidden_act": "gelu", "num_channels": 3}
_FIXED_DEFAULTS = _FIXED | {"hidden_act": "quick_gelu"}


def entries(config: CLIPVisionConfig, prefix: str = PREFIX) -> list[Entry]:
    """One for each tensor of the tower, its names beginning with `prefix` (see PREFIX)."""
    found = [
        Entry(f"{prefix}embeddings.class_embedding", "class_embedding"),
        Entry(f"{prefix}embeddings.position_embedding.weight", "positions"),
        Entry(
            f"{prefix}embeddings.patch_embedding.weight",
            "patch_embedding.kernel",
            patches((config.patch_size, config.patch_size), 3),
        ),
        *_norm(f"{prefix}pre_layrnorm", "norm_in"),  # the name is misspelt there
        *_norm(f"{prefix}post_layernorm", "norm_out"),
    ]
    for i in range(config.n_layers):
        layer = f"{prefix}encoder.layers.{i}"
        found += _norm(f"{layer}.layer_norm1", "blocks.norm1", i)
        found += _norm(f"{layer}.layer_norm2", "blocks.norm2", i)
        for theirs, ours in zip(("q_proj", "k_proj", "v_proj", "out_proj"), "qkvo", strict=True):
            found += _linear(f"{layer}.self_attn.{theirs}", f"blocks.{ours}", i)
        found += _linear(f"{layer}.mlp.fc1", "blocks.ffn_up", i)
        found += _linear(f"{layer}.mlp.fc2", "blocks.ffn_down", i)
    return found


def config_from_diffusers(values: Mapping[str, Any], where: str) -> CLIPVisionConfig:
    """The configuration in an `image_encoder/config.json`.

    Args:
        values: the file's object; fields that do not shape the tower are ignored.
        where: the file, named in errors.

    Raises:
        WeightsError: fields are not of a tower as Wan2.1's; all of them are listed.
    """
    problems = []
    for name, wanted in _FIXED.items():
        if (found := values.get(name, _FIXED_DEFAULTS[name])) != wanted:
            problems.append(f"{name} is {found!r}; only {wanted!r} is supported")
    fields: dict[str, Any] = {}
    for name, ours in _FIELDS.items():
        found = values.get(name, _DEFAULTS[name])
        kind = float if ours == "eps" else int
        if type(found) is not kind or found <= 0:
            problems.append(f"{name} is {found!r}; expected a positive {kind.__name__}")
        fields[ours] = found
    if not problems:
        try:
            return CLIPVisionConfig(**fields)
        except ConfigError as e:
            problems.append(str(e))
    raise WeightsError("\n  ".join([f"{where} describes no CLIP vision tower of Wan:", *problems]))


def config_to_diffusers(config: CLIPVisionConfig) -> dict[str, Any]:
    """The object of an `image_encoder/config.json` that transformers' CLIPVisionModel loads."""
    sizes = {name: getattr(config, ours) for name, ours in _FIELDS.items()}
    return {"architectures": ["CLIPVisionModel"]} | _FIXED | sizes


def _norm(theirs: str, ours: str, layer: int | None = None) -> list[Entry]:
    return [
        Entry(f"{theirs}.weight", f"{ours}.scale", COPY, layer),
        Entry(f"{theirs}.bias", f"{ours}.bias", COPY, layer),
    ]


def _linear(theirs: str, ours: str, layer: int | None = None) -> list[Entry]:
    return [
        Entry(f"{theirs}.weight", f"{ours}.kernel", LINEAR, layer),
        Entry(f"{theirs}.bias", f"{ours}.bias", COPY, layer),
    ]
