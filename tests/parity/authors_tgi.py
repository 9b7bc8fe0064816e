"""TGI: KAB's cross-attention, ReTRo's scales, and a tiny network under both."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from authors_code import definitions, randomised, weights
from einops import rearrange

BETAS = (9.0, 6.0)  # stronger than its own, so that all of it is seen
SCALES = (1.9, 0.4)
STEPS = (0, 1, 4, 5)  # of 10: from more than 0 up to 4 there is a bias


def goldens(checkout: Path) -> dict[str, np.ndarray]:
    flags = {f"{name}_AVAILABLE": False for name in ("FLASH_ATTN_2", "FLASH_ATTN_3", "SAGE_ATTN")}
    names = {"math": math, "nn": torch.nn, "F": torch.nn.functional, "rearrange": rearrange}
    wan = definitions(checkout / "diffsynth/models/wan_video_dit.py", **names, **flags)
    pipeline = definitions(
        checkout / "diffsynth/pipelines/wan_video_ours.py",
        ["build_speed_vector", "model_fn_wan_video"],
        sinusoidal_embedding_1d=wan.sinusoidal_embedding_1d,
    )
    script = definitions(
        checkout / "inference.py",
        ["build_retro_schedule"],
        ALLOWED_NUM_FRAMES=(25, 33, 65, 81),
        DEFAULT_W_EDGE_MAP={25: 2, 33: 3, 65: 6, 81: 8},
    )
    return cross_attention(wan) | scales(pipeline, script) | network(wan, pipeline)


def cross_attention(wan: SimpleNamespace) -> dict[str, np.ndarray]:
    """In float64: its layer without projections and norms, and with a softmax in full precision.

    So what is given are queries, and keys that are values, too.
    """
    rng, found = np.random.default_rng(0), {}
    layer = wan.CrossAttention(12, 2)
    for name in ("q", "k", "v", "o", "norm_q", "norm_k"):
        setattr(layer, name, torch.nn.Identity())
    layer._softmax_fp32 = lambda logits, dim=-1: torch.softmax(logits, dim=dim)
    config = {"h": 1, "w": 2, "eps": 5e-4, "apply_text": True}
    for frames in (3, 6, 9):
        given = {"q": rng.normal(size=(1, 2 * frames, 12)), "k": 8 * rng.normal(size=(1, 7, 12))}
        x, y = (torch.from_numpy(one) for one in given.values())
        layer._bias_cfg = config | {"f": frames}
        given |= {"drawn": layer(x, y).numpy()}
        layer._bias_cfg = None
        given |= {"plain": layer(x, y).numpy()}
        found |= {f"kab.{frames}.{key}": one for key, one in given.items()}
    return found


def scales(pipeline: SimpleNamespace, script: SimpleNamespace) -> dict[str, np.ndarray]:
    """Of the lengths that its script takes."""
    return {
        f"retro.{frames}": pipeline.build_speed_vector(
            (frames - 1) // 4 + 1, script.build_retro_schedule(frames)
        ).numpy()
        for frames in (25, 33, 65, 81)
    }


def network(wan: SimpleNamespace, pipeline: SimpleNamespace) -> dict[str, np.ndarray]:
    """Of a first and a last frame: layers 5 and 6 of 7 are those that its code draws.

    Two of its sizes are smaller: the states of pictures are 6 wide, in place of 1280.
    """
    rng, width = np.random.default_rng(3), 6
    model = wan.WanModel(
        dim=12, in_dim=9, ffn_dim=16, out_dim=4, text_dim=5, freq_dim=8, eps=1e-6,
        patch_size=(1, 2, 2), num_heads=2, num_layers=7, has_image_input=True,
    )  # fmt: skip
    model.img_emb = wan.MLP(width, 12)
    model.img_emb.emb_pos = torch.nn.Parameter(torch.zeros(1, 514, width))
    model.img_emb.has_pos_emb = True
    model = randomised(model, seed=4, std=0.4)
    for name, parameter in model.named_parameters():
        if "norm_q" in name or "norm_k" in name:
            parameter.mul_(4)  # so that attention is far from even
    kept = weights(model)
    given = {
        "latents": rng.normal(size=(1, 4, 5, 4, 4)),
        "condition": rng.normal(size=(1, 5, 5, 4, 4)),
        "text": 2 * rng.normal(size=(1, 6, 5)),
        "image": rng.normal(size=(1, 514, width)),
    }
    given = {key: np.float32(x) for key, x in given.items()}
    given["condition"][:, 0] = [[[[1.0]], [[0.0]], [[0.0]], [[0.0]], [[1.0]]]]  # its mask
    latents, condition, text, image = (torch.from_numpy(x).double() for x in given.values())
    schedule = [("fast", 0.0, 0.1), ("slow", 0.1, 0.9), ("fast", 0.9, 1.0)]
    found = {}
    for name, step, scaled in (*((str(step), step, True) for step in STEPS), ("plain", 0, False)):
        velocity = pipeline.model_fn_wan_video(
            model.double(), latents=latents, y=condition, context=text, clip_feature=image,
            timestep=torch.tensor([700.0], dtype=torch.float64),
            bias_step_idx=step, bias_num_steps=10, beta_end=BETAS[0], beta_mid=BETAS[1],
            rope_dynamic=scaled, speed_schedule=schedule,
            speed_fast=SCALES[0], speed_slow=SCALES[1],
        )  # fmt: skip
        found[f"velocity.{name}"] = velocity.numpy()
    return {f"network.{key}": x for key, x in (given | found | kept).items()}
