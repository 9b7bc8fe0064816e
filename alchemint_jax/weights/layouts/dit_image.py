"""Tensors that Wan2.1's image-to-video transformers have beside those of text-to-video.

The wider patch embedding has the same name in both; `config.in_channels` says its width.
"""

from __future__ import annotations

from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.weights.layouts.moves import COPY, LINEAR, Entry, reshaped


def image_entries(config: DiTConfig) -> list[Entry]:
    """Those of diffusers' WanTransformer3DModel; none for a config without image stream."""
    return _entries(
        config,
        embedding="condition_embedder.image_embedder",
        names={
            "norm_in": "norm1",
            "first": "ff.net.0.proj",
            "second": "ff.net.2",
            "norm_out": "norm2",
            "positions": "pos_embed",
        },
        layer="blocks.{}.attn2",
        streams={"k_img": "add_k_proj", "v_img": "add_v_proj", "norm_k_img": "norm_added_k"},
    )


def original_image_entries(config: DiTConfig) -> list[Entry]:
    """Those of the original WanModel (`img_emb`, `k_img`, `v_img`, `norm_k_img`)."""
    return _entries(
        config,
        embedding="img_emb",
        names={
            "norm_in": "proj.0",
            "first": "proj.1",
            "second": "proj.3",
            "norm_out": "proj.4",
            "positions": "emb_pos",
        },
        layer="blocks.{}.cross_attn",
        streams={"k_img": "k_img", "v_img": "v_img", "norm_k_img": "norm_k_img"},
    )


def _entries(
    config: DiTConfig, embedding: str, names: dict[str, str], layer: str, streams: dict[str, str]
) -> list[Entry]:
    if not config.image_dim:
        return []
    found = []
    for ours in ("norm_in", "norm_out"):
        theirs = f"{embedding}.{names[ours]}"
        found += [
            Entry(f"{theirs}.weight", f"image.{ours}.scale"),
            Entry(f"{theirs}.bias", f"image.{ours}.bias"),
        ]
    for ours in ("first", "second"):
        found += _linear(f"{embedding}.{names[ours]}", f"image.{ours}")
    if config.image_positions:
        shape = (config.image_positions, config.image_dim)
        found.append(
            Entry(
                f"{embedding}.{names['positions']}",
                "image.positions",
                reshaped(shape, (1, *shape)),
            )
        )
    for i in range(config.n_layers):
        theirs, ours = layer.format(i), "blocks.cross_attn"
        found += _linear(f"{theirs}.{streams['k_img']}", f"{ours}.k_img", i)
        found += _linear(f"{theirs}.{streams['v_img']}", f"{ours}.v_img", i)
        norm = f"{theirs}.{streams['norm_k_img']}.weight"
        found.append(Entry(norm, f"{ours}.norm_k_img", COPY, i))
    return found


def _linear(theirs: str, ours: str, layer: int | None = None) -> list[Entry]:
    return [
        Entry(f"{theirs}.weight", f"{ours}.kernel", LINEAR, layer),
        Entry(f"{theirs}.bias", f"{ours}.bias", COPY, layer),
    ]
