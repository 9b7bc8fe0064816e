"""Tiny pipelines of diffusers in the manner of Wan2.2, with random weights, saved as directories.

"ti2v" is TI2V-5B's (a first frame by the times of tokens, or none; its own autoencoder), "pair"
T2V-A14B's and "pair_i2v" I2V-A14B's (two experts; channels of a condition, and no CLIP).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from PIL import Image
from reference_pipeline import NEGATIVE, PROMPTS, tokenizer
from safetensors.numpy import save_file
from transformers import UMT5Config, UMT5EncoderModel

# Two of the six steps, at shift 3, are above both boundaries.
HEIGHT, WIDTH, FRAMES, STEPS = 16, 32, 5, 6
HIGH, LOW = 4.0, 2.5  # scales of guidance
BOUNDARIES = {"pair": 0.875, "pair_i2v": 0.9}
GOLDENS = ("ti2v", "pair_i2v")


def transformer(channels: int, latents: int, seed: int) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, text_dim=24,
        freq_dim=16, ffn_dim=32, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", in_channels=channels, out_channels=latents,
    )  # fmt: skip
    return _moved(model)


def autoencoder(newer: bool) -> AutoencoderKLWan:
    torch.manual_seed(7)
    z = 48 if newer else 16
    rng = np.random.default_rng(z)
    fields = dict(
        base_dim=2, z_dim=z, num_res_blocks=1,
        latents_mean=rng.normal(size=z).tolist(), latents_std=rng.uniform(0.5, 2, z).tolist(),
    )  # fmt: skip
    if newer:
        fields |= dict(
            dim_mult=[1, 2, 2], temperal_downsample=[True, True], decoder_base_dim=3,
            is_residual=True, patch_size=2, in_channels=12, out_channels=12,
        )  # fmt: skip
    else:
        fields |= dict(dim_mult=[1, 2, 2, 2], temperal_downsample=[False, True, True])
    return _moved(AutoencoderKLWan(scale_factor_spatial=8, scale_factor_temporal=4, **fields))


def _moved(network: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def pipeline(name: str) -> WanPipeline | WanImageToVideoPipeline:
    """One of the three, as the published directories announce themselves."""
    torch.manual_seed(3)
    words = tokenizer()
    text = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(words), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu", is_encoder_decoder=False,
        )
    )  # fmt: skip
    parts = {
        "text_encoder": _moved(text),
        "tokenizer": words,
        "vae": autoencoder(name == "ti2v"),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }
    if name == "ti2v":
        return WanPipeline(**parts, transformer=transformer(48, 48, 1), expand_timesteps=True)
    channels = 36 if name == "pair_i2v" else 16
    parts |= {
        "transformer": transformer(channels, 16, 1),
        "transformer_2": transformer(channels, 16, 2),
        "boundary_ratio": BOUNDARIES[name],
    }
    return (WanImageToVideoPipeline if name == "pair_i2v" else WanPipeline)(**parts)


def noise(name: str, count: int = 1) -> np.ndarray:
    """What both start from, [b t h w c]."""
    shape = (count, 2, 2, 4, 48 if name == "ti2v" else 16)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def pictures() -> np.ndarray:
    """A first and a last frame, uint8."""
    return np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)


def generate(
    pipe: WanPipeline | WanImageToVideoPipeline, z: np.ndarray, given: np.ndarray | None = None
) -> np.ndarray:
    """The reference's frames in [0, 1], [b f h w 3], with so many pictures [n h w 3] given."""
    options = {}
    if given is not None:
        if pipe.config.expand_timesteps:  # the same parts, in the pipeline that takes pictures
            pipe = WanImageToVideoPipeline(**pipe.components, expand_timesteps=True)
        options = dict(zip(("image", "last_image"), map(Image.fromarray, given), strict=False))
    if pipe.config.boundary_ratio is not None:
        options["guidance_scale_2"] = LOW
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        prompt=PROMPTS[: len(z)],
        negative_prompt=[NEGATIVE] * len(z),
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=HIGH,
        latents=torch.from_numpy(z).permute(0, 4, 1, 2, 3),
        output_type="np",
        **options,
    ).frames


def write(directory: Path) -> None:
    """Two of the pipelines, the noise, pictures, and the frames that are made of them."""
    for name in GOLDENS:
        pipe, z = pipeline(name), noise(name)
        pipe.save_pretrained(directory / name, safe_serialization=True)
        found = {"noise": z, "pictures": pictures()}
        if name == "ti2v":
            found["frames"] = generate(pipe, z)
        for count in (1,) if name == "ti2v" else (1, 2):
            found[f"frames{count}"] = generate(pipe, z, pictures()[:count])
        arrays = {key: np.ascontiguousarray(x) for key, x in found.items()}
        save_file(arrays, directory / name / "io.safetensors")
