"""Tiny image-to-video transformers of diffusers: I2V, FLF2V (learned positions), Wan2.2's two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors.numpy import save_file

TEXT = 512  # diffusers cuts the text off at 512 tokens from the end, whatever is in front is image
IMAGE = 5  # tokens of one picture; 257 in Wan
NAMES = {
    "i2v": (36, IMAGE, None),
    "flf2v": (36, 2 * IMAGE, 2 * IMAGE),
    "ti2v": (16, 0, None),
    "i2v22": (36, 0, None),  # A14B's see pictures by their latents alone
}
GOLDENS = ("i2v", "flf2v", "ti2v")


def network(name: str, seed: int = 0) -> WanTransformer3DModel:
    """One of NAMES, with random parameters: biases, scales and tables too."""
    channels, tokens, positions = NAMES[name]
    torch.manual_seed(seed)
    model = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=channels, out_channels=16,
        text_dim=10, freq_dim=16, ffn_dim=32, num_layers=2, cross_attn_norm=True,
        image_dim=20 if tokens else None, added_kv_proj_dim=24 if tokens else None,
        pos_embed_seq_len=positions,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            size = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.add_(size * torch.randn_like(parameter))
        if tokens:  # small enough for the last norm's epsilon to matter
            model.condition_embedder.image_embedder.ff.net[2].weight.mul_(0.01)
            model.condition_embedder.image_embedder.ff.net[2].bias.mul_(0.01)
    return model.eval()


def inputs(name: str, batch: int, grid: tuple[int, int, int], seed: int = 1) -> dict:
    """Inputs in our conventions: channels last, time in [0, 1] (per token for "ti2v")."""
    channels, tokens, positions = NAMES[name]
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    t, h, w = grid
    found = {"latents": normal(batch, *grid, 16), "text": normal(batch, TEXT, 10)}
    found["text"][-1, 300:] = 0
    if name == "ti2v":  # the first latent frame is given, and clean
        noisy = np.repeat(np.arange(t) > 0, (h // 2) * (w // 2))
        found["time"] = np.float32(rng.uniform(0.1, 0.9, (batch, 1)) * noisy)
    else:
        found["time"] = np.float32(rng.uniform(0.1, 0.9, batch))
        found["condition"] = normal(batch, *grid, channels - 16)
    if tokens:
        found["image"] = 3 * normal(batch, tokens, 20)
        found["image"][:, 1] *= 1e-3  # likewise for the first norm
    return found


def run(model: WanTransformer3DModel, given: dict, dtype: torch.dtype = torch.float32):
    """The reference's velocity of our inputs, channels last."""

    def tensor(x):
        return torch.from_numpy(np.ascontiguousarray(x))

    parts = [given[name] for name in ("latents", "condition") if name in given]
    states = given.get("image")
    if states is not None:
        states = tensor(states).to(dtype)
        if model.config.pos_embed_seq_len:  # there, the two pictures are neighbours in the batch
            states = states.reshape(2 * len(states), -1, states.shape[-1])
    with torch.no_grad():
        y = model(
            hidden_states=tensor(np.moveaxis(np.concatenate(parts, -1), -1, 1)).to(dtype),
            timestep=1000 * tensor(given["time"]),
            encoder_hidden_states=tensor(given["text"]).to(dtype),
            encoder_hidden_states_image=states,
            return_dict=False,
        )[0]
    return np.moveaxis(y.float().numpy(), 1, -1)


def write(directory: Path) -> None:
    for name in GOLDENS:
        model, given = network(name), inputs(name, 2, (3, 6, 10))
        model.save_pretrained(directory / name, safe_serialization=True)
        arrays = given | {"velocity": run(model, given)}
        arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
        save_file(arrays, directory / name / "io.safetensors")
