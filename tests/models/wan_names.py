"""Parameters from a small transformer in diffusers' format, for the tests of the image stream."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
from safetensors.numpy import load_file

from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.weights.layouts.dit_image import image_entries
from alchemint_jax.weights.layouts.moves import COPY, LINEAR, Entry, patches

WHOLE = {
    "condition_embedder.time_embedder.linear_1": "time.first",
    "condition_embedder.time_embedder.linear_2": "time.second",
    "condition_embedder.time_proj": "time.projection",
    "condition_embedder.text_embedder.linear_1": "text_in",
    "condition_embedder.text_embedder.linear_2": "text_out",
    "proj_out": "head",
}
LAYERS = {"ffn.net.0.proj": "ffn_up", "ffn.net.2": "ffn_down"} | {
    f"{theirs}.to_{a}": f"{ours}.{b}"
    for theirs, ours in (("attn1", "self_attn"), ("attn2", "cross_attn"))
    for a, b in (("q", "q"), ("k", "k"), ("v", "v"), ("out.0", "o"))
}
NORMS = {
    f"attn{i}.norm_{x}": f"{y}.norm_{x}"
    for i, y in ((1, "self_attn"), (2, "cross_attn"))
    for x in "qk"
}


def text_entries(config: DiTConfig) -> list[Entry]:
    """What image-to-video and text-to-video have in common."""
    found = [
        Entry(
            "patch_embedding.weight",
            "patch_embedding.kernel",
            patches(config.patch, config.in_channels),
        ),
        Entry("patch_embedding.bias", "patch_embedding.bias"),
        Entry("scale_shift_table", "head_modulation"),
    ]
    for theirs, ours in WHOLE.items():
        found += [
            Entry(f"{theirs}.weight", f"{ours}.kernel", LINEAR),
            Entry(f"{theirs}.bias", f"{ours}.bias"),
        ]
    for i in range(config.n_layers):
        for theirs, ours in LAYERS.items():
            found += [
                Entry(f"blocks.{i}.{theirs}.weight", f"blocks.{ours}.kernel", LINEAR, i),
                Entry(f"blocks.{i}.{theirs}.bias", f"blocks.{ours}.bias", COPY, i),
            ]
        for theirs, ours in NORMS.items():
            found.append(Entry(f"blocks.{i}.{theirs}.weight", f"blocks.{ours}", COPY, i))
        found += [
            Entry(f"blocks.{i}.norm2.weight", "blocks.norm_cross_scale", COPY, i),
            Entry(f"blocks.{i}.norm2.bias", "blocks.norm_cross_bias", COPY, i),
            Entry(f"blocks.{i}.scale_shift_table", "blocks.modulation", COPY, i),
        ]
    return found


def read(target, entries, tensors):
    """The parameters that `entries` make of all `tensors`, in the structure of `target`."""
    assert sorted(e.name for e in entries) == sorted(tensors)
    rows: dict = {}
    for e in entries:
        rows.setdefault(e.path, {})[e.layer] = jnp.asarray(e.move.read(tensors[e.name]))
    assert all(list(r) in ([None], list(range(len(r)))) for r in rows.values())

    def leaf(path, wanted):
        found = rows.pop(jax.tree_util.keystr(path, simple=True, separator="."))
        value = found[None] if None in found else jnp.stack(list(found.values()))
        assert value.shape == wanted.shape, path
        return value

    params = jax.tree_util.tree_map_with_path(leaf, target)
    assert not rows, f"no parameters of ours: {list(rows)}"
    return params


def load_dit(directory: Path):
    """A transformer that diffusers saved: its configuration and parameters."""
    theirs = json.loads((directory / "config.json").read_text())
    heads = theirs["num_attention_heads"]
    config = DiTConfig(
        dim=heads * theirs["attention_head_dim"],
        n_heads=heads,
        n_layers=theirs["num_layers"],
        ffn_dim=theirs["ffn_dim"],
        in_channels=theirs["in_channels"],
        out_channels=theirs["out_channels"],
        text_dim=theirs["text_dim"],
        freq_dim=theirs["freq_dim"],
        patch=tuple(theirs["patch_size"]),
        image_dim=theirs["image_dim"] or 0,
        image_positions=theirs["pos_embed_seq_len"] or 0,
    )
    tensors = load_file(directory / "diffusion_pytorch_model.safetensors")
    target = DiT(config).abstract_params()
    return config, read(target, text_entries(config) + image_entries(config), tensors)
