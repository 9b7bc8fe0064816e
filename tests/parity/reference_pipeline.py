"""Tiny Wan pipelines of diffusers with random weights, saved as `*-Diffusers` directories."""

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
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

HEIGHT, WIDTH, FRAMES, STEPS = 32, 48, 9, 10
PROMPTS = ["a red disc glides past &amp; a cat", "eine Katze"]
NEGATIVE = "ein Hund"
LINES = (
    "a red disc glides past while a blue star bounces in",
    "un chat noir saute par-dessus la clôture",
    "eine Katze läuft über die Straße",
    "ein Hund, a dog, one sunny day in June",
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A unigram tokenizer in the manner of google/umt5-xxl: pad 0, end 1, unknown 2."""
    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.train_from_iterator(
        LINES,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
        ),
    )
    from tokenizers.processors import TemplateProcessing

    inner.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def parts(seed: int, image: bool = False, positions: int | None = None) -> dict:
    """Networks, tokenizer and scheduler; every parameter is random, biases and scales too."""
    torch.manual_seed(seed)
    words = tokenizer()
    text = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(words), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu", is_encoder_decoder=False,
        )
    )  # fmt: skip
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 2, 2, 2], num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24,
        in_channels=36 if image else 16, out_channels=16, text_dim=24, freq_dim=16, ffn_dim=64,
        num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        image_dim=20 if image else None, added_kv_proj_dim=48 if image else None,
        pos_embed_seq_len=positions,
    )  # fmt: skip
    networks = {"text_encoder": text, "vae": vae, "transformer": transformer}
    if image:
        networks["image_encoder"] = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=20, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2,
                image_size=28, patch_size=14, hidden_act="gelu",
            )
        )  # fmt: skip
    with torch.no_grad():
        for network in networks.values():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    found = {name: network.eval() for name, network in networks.items()}
    found |= {"tokenizer": words, "scheduler": scheduler}
    if image:
        found["image_processor"] = CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        )
    return found


def text_to_video(directory: Path) -> WanPipeline:
    """Saved at `directory`, and ready to run."""
    pipe = WanPipeline(**parts(0))
    pipe.save_pretrained(directory, safe_serialization=True)
    return pipe


def frames_to_video(directory: Path) -> WanImageToVideoPipeline:
    """The same for first and last frames (FLF2V)."""
    pipe = WanImageToVideoPipeline(**parts(1, image=True, positions=2 * 5))
    pipe.save_pretrained(directory, safe_serialization=True)
    return pipe


def noise(count: int) -> np.ndarray:
    """What both start from, [b t h w c]."""
    return np.random.default_rng(0).standard_normal((count, 3, 4, 6, 16)).astype(np.float32)


def pictures() -> np.ndarray:
    """A first and a last frame, uint8."""
    return np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)


def generate(pipe: WanPipeline | WanImageToVideoPipeline, z: np.ndarray) -> np.ndarray:
    """The reference's frames in [0, 1], [b f h w 3], for the first prompts."""
    given = {}
    if isinstance(pipe, WanImageToVideoPipeline):
        first, last = map(Image.fromarray, pictures())
        given = {"image": first, "last_image": last}
    return pipe(
        prompt=PROMPTS[: len(z)],
        negative_prompt=[NEGATIVE] * len(z),
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        latents=torch.from_numpy(z).permute(0, 4, 1, 2, 3),
        output_type="np",
        **given,
    ).frames


def write(directory: Path) -> None:
    """Both pipelines, the noise, and the frames made from it."""
    for name, build in (("t2v", text_to_video), ("flf2v", frames_to_video)):
        pipe = build(directory / name)
        frames = generate(pipe, noise(1))
        found = {"noise": noise(1), "frames": np.ascontiguousarray(frames, np.float32)}
        if name == "flf2v":
            found["pictures"] = pictures()
        save_file(found, directory / name / "io.safetensors")
