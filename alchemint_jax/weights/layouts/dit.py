"""The transformer as diffusers stores it (`WanTransformer3DModel`), and as Wan's own files do.

What AlcheMinT and MinT add to Wan (`subjects`, `event_in`, `event_out`, `event_cut`,
`event_attn`) has no name there; see `ADDED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.weights.layouts.dit_image import image_entries, original_image_entries
from alchemint_jax.weights.layouts.moves import COPY, LINEAR, Entry, patches

CLASS = "WanTransformer3DModel"
ORIGINAL_CLASS = "WanModel"
ADDED = ("subjects.", "event_in.", "event_out.", "event_cut", "blocks.event_attn.")
"""Beginnings of the paths of parameters that Wan does not have."""
PREFIX = "model.diffusion_model."
"""What some repackaged files (ComfyUI's) put before every original name."""

# Ours: theirs in diffusers, theirs in the original.
_LINEAR = {
    "text_in": ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    "text_out": ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    "time.first": ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    "time.second": ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    "time.projection": ("condition_embedder.time_proj", "time_projection.1"),
    "head": ("proj_out", "head.head"),
}
_ATTENTION = (("self_attn", "attn1"), ("cross_attn", "attn2"))
_LAYER_LINEAR = {
    **{
        f"{ours}.{x}": (f"{theirs}.{'to_out.0' if x == 'o' else f'to_{x}'}", f"{ours}.{x}")
        for ours, theirs in _ATTENTION
        for x in "qkvo"
    },
    "ffn_up": ("ffn.net.0.proj", "ffn.0"),
    "ffn_down": ("ffn.net.2", "ffn.2"),
}
_LAYER_COPIED = {
    **{
        f"{ours}.norm_{x}": (f"{theirs}.norm_{x}.weight", f"{ours}.norm_{x}.weight")
        for ours, theirs in _ATTENTION
        for x in "qk"
    },
    # The norm before cross-attention is the second of three in diffusers, and Wan's "norm3".
    "norm_cross_scale": ("norm2.weight", "norm3.weight"),
    "norm_cross_bias": ("norm2.bias", "norm3.bias"),
    "modulation": ("scale_shift_table", "modulation"),
}


def entries(config: DiTConfig) -> list[Entry]:
    """Every tensor of diffusers' file; ours that it has no name for begin as in `ADDED`."""
    return [*_entries(config, 0), *image_entries(config)]


def original_entries(config: DiTConfig) -> list[Entry]:
    """Every tensor of Wan's own file; there may be a `PREFIX` before each name."""
    return [*_entries(config, 1), *original_image_entries(config)]


def _entries(config: DiTConfig, which: int) -> list[Entry]:
    patch = patches(config.patch, config.in_channels)
    found = [
        Entry("patch_embedding.weight", "patch_embedding.kernel", patch),
        Entry("patch_embedding.bias", "patch_embedding.bias"),
        Entry(("scale_shift_table", "head.modulation")[which], "head_modulation"),
    ]
    for ours, theirs in _LINEAR.items():
        found += _linear(theirs[which], ours)
    for i in range(config.n_layers):
        for ours, theirs in _LAYER_LINEAR.items():
            found += _linear(f"blocks.{i}.{theirs[which]}", f"blocks.{ours}", i)
        for ours, theirs in _LAYER_COPIED.items():
            found.append(Entry(f"blocks.{i}.{theirs[which]}", f"blocks.{ours}", COPY, i))
    return found


def _linear(theirs: str, ours: str, layer: int | None = None) -> list[Entry]:
    return [
        Entry(f"{theirs}.weight", f"{ours}.kernel", LINEAR, layer),
        Entry(f"{theirs}.bias", f"{ours}.bias", COPY, layer),
    ]


# Fields of the two config.json, and Wan2.1-T2V-14B's values, for where they are left out.
_DIFFUSERS = {
    "num_attention_heads": 40,
    "attention_head_dim": 128,
    "num_layers": 40,
    "ffn_dim": 13824,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "patch_size": [1, 2, 2],
    "image_dim": None,
    "pos_embed_seq_len": None,
}
_ORIGINAL = {
    "dim": 5120,
    "num_heads": 40,
    "num_layers": 40,
    "ffn_dim": 13824,
    "in_dim": 16,
    "out_dim": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "patch_size": [1, 2, 2],
}
# The only network that is ours.
_FIXED = {
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
    "vace_layers": None,
}
_ORIGINAL_FIXED = {"qk_norm": True, "cross_attn_norm": True, "eps": 1e-6}
_CLIP_DIM, _FLF_POSITIONS = 1280, 2 * 257


def config_from_diffusers(values: Mapping[str, Any], where: str) -> DiTConfig:
    """Our configuration, without slots and events, from diffusers' or Wan's own config.json.

    Args:
        values: the object in the file.
        where: the file, named in errors.

    Raises:
        WeightsError: it describes another network than Wan's; all such fields are listed.
    """
    name = values.get("_class_name")
    if name not in (CLASS, ORIGINAL_CLASS):
        raise WeightsError(
            f"{where}: _class_name is {name!r}; a transformer is a {CLASS} (diffusers) or a "
            f"{ORIGINAL_CLASS} (Wan); VACE, animate, speech and control networks are not supported"
        )
    known: dict[str, Any] = _DIFFUSERS if name == CLASS else _ORIGINAL
    fixed: dict[str, Any] = _FIXED if name == CLASS else _ORIGINAL_FIXED
    fields = {field: values.get(field, default) for field, default in known.items()}
    problems = [
        f"{field} is {value!r}; it must be {_wanted(known[field])} above 0"
        for field, value in fields.items()
        if value is not known[field] and not _fits(known[field], value)
    ]
    problems += [
        f"{field} is {values[field]!r}; only {only!r} is supported"
        for field, only in fixed.items()
        if values.get(field, only) != only
    ]
    if problems:
        raise WeightsError("\n  ".join([f"{where} cannot be read:", *problems]))
    if name == CLASS:
        return DiTConfig(
            dim=fields["num_attention_heads"] * fields["attention_head_dim"],
            n_heads=fields["num_attention_heads"],
            in_channels=fields["in_channels"],
            out_channels=fields["out_channels"],
            image_dim=fields["image_dim"] or 0,
            image_positions=fields["pos_embed_seq_len"] or 0,
            **_shared(fields),
        )
    kind = values.get("model_type", "t2v")
    if kind not in (kinds := ("t2v", "i2v", "flf2v", "ti2v")):
        raise WeightsError(
            f"{where}: model_type is {kind!r}; only {', '.join(kinds)} are supported"
        )
    return DiTConfig(
        dim=fields["dim"],
        n_heads=fields["num_heads"],
        in_channels=fields["in_dim"],
        out_channels=fields["out_dim"],
        # Wan2.2's i2v has none, which its files alone say: see `wan.read_config`.
        image_dim=_CLIP_DIM if kind in ("i2v", "flf2v") else 0,
        image_positions=_FLF_POSITIONS if kind == "flf2v" else 0,
        **_shared(fields),
    )


def _shared(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "n_layers": fields["num_layers"],
        "ffn_dim": fields["ffn_dim"],
        "text_dim": fields["text_dim"],
        "freq_dim": fields["freq_dim"],
        "patch": tuple(fields["patch_size"]),
    }


def _wanted(default: Any) -> str:
    return "three whole numbers" if isinstance(default, list) else "a whole number"


def _fits(default: Any, value: Any) -> bool:
    if isinstance(default, list):
        return isinstance(value, list) and len(value) == 3 and all(_fits(1, v) for v in value)
    return type(value) is int and value > 0


def config_to_diffusers(config: DiTConfig) -> dict[str, Any]:
    """The transformer/config.json with which diffusers builds the network without additions."""
    return {
        "_class_name": CLASS,
        "patch_size": list(config.patch),
        "num_attention_heads": config.n_heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "text_dim": config.text_dim,
        "freq_dim": config.freq_dim,
        "ffn_dim": config.ffn_dim,
        "num_layers": config.n_layers,
        "image_dim": config.image_dim or None,
        "added_kv_proj_dim": config.dim if config.image_dim else None,
        "pos_embed_seq_len": config.image_positions or None,
        **{field: value for field, value in _FIXED.items() if field != "vace_layers"},
    }


def config_to_original(config: DiTConfig) -> dict[str, Any]:
    """The config.json that lies beside Wan's own file."""
    continues = config.image_dim or config.in_channels != config.out_channels
    kind = "flf2v" if config.image_positions else "i2v" if continues else "t2v"
    return {
        "_class_name": ORIGINAL_CLASS,
        "model_type": kind,
        "patch_size": list(config.patch),
        "dim": config.dim,
        "num_heads": config.n_heads,
        "num_layers": config.n_layers,
        "ffn_dim": config.ffn_dim,
        "in_dim": config.in_channels,
        "out_dim": config.out_channels,
        "text_dim": config.text_dim,
        "text_len": 512,
        "freq_dim": config.freq_dim,
        **_ORIGINAL_FIXED,
    }
