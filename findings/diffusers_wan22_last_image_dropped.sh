#!/usr/bin/env bash
# Surprise: with expand_timesteps=True (Wan2.2's TI2V-5B) WanImageToVideoPipeline of diffusers takes
#   last_image and drops it: the video is the same to the last bit as without one, and nothing is said.
# Guess: a last picture is followed, as in the same class with expand_timesteps=False, or refused.
# Versions: diffusers 0.42.1, torch 2.13.0, transformers 5.24.0.
# Source: WanImageToVideoPipeline.prepare_latents, pipelines/wan/pipeline_wan_i2v.py: the branch of
#   expand_timesteps returns before last_image is looked at.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet diffusers==0.42.1 torch==2.13.0 transformers==5.24.0 ftfy
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import diffusers
import numpy as np
import torch
import transformers
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from PIL import Image

print("diffusers", diffusers.__version__, "torch", torch.__version__, "transformers", transformers.__version__)


def pipeline(expand):
    torch.manual_seed(0)
    z = 48 if expand else 16
    vae = AutoencoderKLWan(
        base_dim=2, z_dim=z, dim_mult=[1, 2, 2, 2], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.0] * z, latents_std=[1.0] * z,
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, text_dim=8, freq_dim=16,
        ffn_dim=32, num_layers=1, in_channels=z if expand else 36, out_channels=z,
    )
    with torch.no_grad():
        for network in (vae, transformer):
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    made = WanImageToVideoPipeline(
        tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, expand_timesteps=expand,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0), boundary_ratio=None if expand else 0.9,
        transformer_2=None if expand else transformer,
    )
    made.set_progress_bar_config(disable=True)
    return made


rng = np.random.default_rng(0)
first, last = (Image.fromarray(x) for x in rng.integers(0, 256, (2, 32, 32, 3), np.uint8))
text = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(1))
for expand in (True, False):
    pipe = pipeline(expand)

    def video(**given):
        return pipe(
            image=first, prompt_embeds=text, negative_prompt_embeds=0 * text, height=32, width=32,
            num_frames=9, num_inference_steps=2, output_type="np",
            generator=torch.Generator().manual_seed(2), **given,
        ).frames

    change = np.abs(video() - video(last_image=last)).max()
    print(f"expand_timesteps={expand}: a last picture changes the video by {change:.3g}")
    assert (change == 0) == expand, "this has changed"
PY
