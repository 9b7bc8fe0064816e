"""A tiny CLIP vision tower of transformers, its picture processor, and what they make of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil


def network(size: int = 42, projection: bool = False, seed: int = 0):
    """Random parameters everywhere: biases, scales and tables too."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
        image_size=size, patch_size=14, hidden_act="gelu", projection_dim=8,
    )  # fmt: skip
    model = (CLIPVisionModelWithProjection if projection else CLIPVisionModel)(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.add_(scale * torch.randn_like(parameter))
            if "embedding" in name:
                parameter.mul_(0.01)  # small enough for the first norm's epsilon to matter
    return model.eval()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture [height width 3] of colour blobs, edges and noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def processed(pictures: list[np.ndarray], size: int) -> np.ndarray:
    """The processor's pixels, channels last. Its Pillow form; torchvision has another bicubic."""
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    pixels = processor(images=pictures, return_tensors="np")["pixel_values"]
    return np.ascontiguousarray(np.moveaxis(np.asarray(pixels), 1, -1), np.float32)


def run(model, pixels: np.ndarray, dtype: torch.dtype = torch.float32) -> tuple:
    """Penultimate hidden states and the pooled output, before any projection."""
    given = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 1))).to(dtype)
    with torch.no_grad():
        y = model(pixel_values=given, output_hidden_states=True)
        tower = model.vision_model if hasattr(model, "visual_projection") else model
        pooled = tower(pixel_values=given).pooler_output
    return y.hidden_states[-2].float().numpy(), pooled.float().numpy()


def write(directory: Path) -> None:
    # Of the two classes, this one's files have the names of published ones in every version.
    model, pictures = network(projection=True), [picture(50, 71), picture(64, 45, seed=1)]
    model.save_pretrained(directory / "image_encoder", safe_serialization=True)
    pixels = processed(pictures, 42)
    penultimate, pooled = run(model, pixels)
    arrays = {"picture_0": pictures[0], "picture_1": pictures[1], "pixels": pixels}
    arrays |= {"penultimate": penultimate, "pooled": pooled}
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, directory / "io.safetensors")
