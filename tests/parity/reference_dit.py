"""Tiny text-to-video transformers of diffusers with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors.numpy import save_file

# "wan" has Wan's own width of a head, so the rotary ladders are cut as there (44 + 42 + 42); "odd"
# has another patch, and other channels out than in.
NETWORKS = {
    "wan": dict(num_attention_heads=2, attention_head_dim=128, num_layers=2, ffn_dim=48),
    "small": dict(num_attention_heads=3, attention_head_dim=16, num_layers=3, ffn_dim=56),
    "odd": dict(
        num_attention_heads=5, attention_head_dim=12, num_layers=1, ffn_dim=32,
        in_channels=6, out_channels=3, patch_size=(2, 1, 3), freq_dim=10,
    ),
}  # fmt: skip
GOLDENS = ("small", "odd")  # "wan" would be too large to keep
TEXT_DIM = 20


def network(name: str, seed: int = 0) -> WanTransformer3DModel:
    """One of NETWORKS, with random parameters: biases, scales and tables too."""
    torch.manual_seed(seed)
    sizes = dict(freq_dim=32, text_dim=TEXT_DIM) | NETWORKS[name]
    model = WanTransformer3DModel(**sizes)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.ndim > 1:
                fan_in = p.shape[1:].numel() if "table" not in key else p.shape[-1]
                p.normal_(std=(1 if "table" in key else fan_in**-0.5))
            elif "norm" in key and key.endswith("weight"):
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(std=0.3)
    return model.eval().requires_grad_(False)


def inputs(
    model: WanTransformer3DModel, batch: int, patches: tuple[int, int, int], seed: int = 1
) -> dict[str, np.ndarray]:
    """Inputs in our conventions: channels last, time in [0, 1], text zero where padded."""
    rng = np.random.default_rng(seed)
    grid = [n * p for n, p in zip(patches, model.config.patch_size, strict=True)]
    text = rng.standard_normal((batch, 11, TEXT_DIM), np.float32)
    for i in range(batch):
        text[i, 7 - 3 * i :] = 0
    return {
        "latents": rng.standard_normal((batch, *grid, model.config.in_channels), np.float32),
        "time": rng.uniform(0.05, 0.95, batch).astype(np.float32),
        "text": text,
    }


def run(
    model: WanTransformer3DModel, given: dict[str, np.ndarray], dtype: torch.dtype = torch.float32
) -> np.ndarray:
    """The reference's velocity of our inputs, channels last."""
    with torch.no_grad():
        y = model(
            hidden_states=torch.from_numpy(given["latents"]).movedim(-1, 1).to(dtype),
            timestep=1000 * torch.from_numpy(given["time"]),
            encoder_hidden_states=torch.from_numpy(given["text"]).to(dtype),
            return_dict=False,
        )[0]
    return y.float().movedim(1, -1).contiguous().numpy()


def write(directory: Path) -> None:
    """Weights in several files, as large networks are published, inputs and velocities."""
    for name in GOLDENS:
        model = network(name)
        model.save_pretrained(directory / name / "transformer", max_shard_size="200KB")
        arrays = {}
        for size, batch, patches in (("video", 2, (3, 3, 5)), ("picture", 1, (1, 5, 3))):
            given = inputs(model, batch, patches)
            given["velocity"] = run(model, given)
            arrays |= {f"{size}.{key}": value for key, value in given.items()}
        save_file(arrays, directory / name / "io.safetensors")
