r"""AlcheMinT on Wan2.1-T2V-1.3B: fine-tuning the transformer, or a LoRA beside it, and a student.

The recipe is the paper's (arXiv 2512.10943) as far as it is known: two learning rates, 1 K steps of
warm-up, batch 32, 30 K + 10 K steps, four branches of conditions. Which rate is whose is not
published; here what AlcheMinT adds (slots and word tags), or a LoRA, has 1e-4 and Wan's own weights
have 3e-5. Commands, with the weights of Wan-AI/Wan2.1-T2V-1.3B-Diffusers in
models/Wan2.1-T2V-1.3B-Diffusers, and videos in the folder videos:

    alchemint annotate videos --out data/clips
    alchemint data encode --data data/clips/dataset --out data/clips_latents \
        --vae models/Wan2.1-T2V-1.3B-Diffusers --text models/Wan2.1-T2V-1.3B-Diffusers \
        --buckets 81x480x832,81x832x480,1x480x832 --fps 16
    alchemint train --config configs/wan_1_3b.py --workdir runs/wan_1_3b
    alchemint train --config configs/wan_1_3b.py:lora --workdir runs/wan_1_3b_lora

Clips have 81 frames of 480 x 832 pixels, or are upright, or are pictures; each size is compiled
once. A clip of 480 x 832 is 32,760 tokens, and a reference 1,560. Kernels attend to so many (splash
on TPUs, cuDNN on GPUs; `model.attention` chooses), and `mesh.context` splits a clip over devices.

A student makes in 4 passes what that model makes in 80. It is a LoRA beside the model, and needs
storyboards instead of clips, such as those that are made of a file with a prompt on each line:

    alchemint benchmark make prompts.txt --pictures data/clips --seconds 5 --out data/boards
    alchemint data paths --model runs/wan_1_3b/export --boards data/boards/boards.jsonl \
        --student-steps 4 --batch 1 --out data/wan_1_3b_paths
    alchemint train --config configs/wan_1_3b.py:fast --workdir runs/wan_1_3b_fast

Another place of the weights: --config.init_from=DIR, which may be a published model of subjects:
Phantom-Wan-1.3B, also as --config.transformer=FILE (docs/guides/subject_models.md). The whole model
is then in WORKDIR/export; of a LoRA run also lora_diffusers.safetensors and
lora_comfyui.safetensors, which hold the LoRA alone (AlcheMinT's additions have no place in them).
An interrupted run goes on with the same command.
On many machines: launch/README.md.

Memory, from the shapes: weights, their average, two moments and gradients of the whole transformer
are 5 x 5.3 GiB; those of a LoRA of rank 32 and the additions are 5 x 0.2 GiB, beside 5.3 GiB of
frozen weights. `mesh` splits all of it over the devices. The text encoder, 21.2 GiB, is not in it:
`data encode --text` has written what it says of all texts. With --config.cached_text=False it is
frozen in every step instead. Hardware: 8 accelerators of 80 GB. It has not been run on such
hardware yet.
"""

import dataclasses

from ml_collections import ConfigDict

from alchemint_jax.models.dit import VARIANTS
from alchemint_jax.models.umt5 import VARIANTS as TEXT_VARIANTS

STEPS = 40_000
SIZES = ("dim", "n_heads", "n_layers", "ffn_dim", "in_channels", "out_channels")


def get_config(kind: str = "full") -> ConfigDict:
    if kind == "fast":
        return student(get_config())
    return recipe("wan2.1-1.3b", "models/Wan2.1-T2V-1.3B-Diffusers", kind)


def recipe(variant: str, directory: str, kind: str) -> ConfigDict:
    if kind not in ("full", "lora"):
        raise ValueError(f"no kind {kind!r}; there are full, lora")
    lora = kind == "lora"
    groups = (("added", 1e-4), ("lora" if lora else "backbone", 1e-4 if lora else 3e-5))
    config = ConfigDict(
        dict(
            task="dit",
            data="data/clips_latents",
            init_from=directory,
            train_text=False,
            cached_text=True,
            compute="bfloat16",
            storage="bfloat16",
            mesh=dict(data=1, fsdp=-1, context=1, tensor=1),
            model=dict(
                {name: getattr(VARIANTS[variant], name) for name in SIZES},
                slots=3,
                remat="auto",
                attention="auto",
                scheme=dict(name="WeRope"),
            ),
            text=dataclasses.asdict(TEXT_VARIANTS["xxl"]),
            loader=dict(batch_size=32, seed=0),
            shift=3.0,
            dropout=dict(pictures=0.1, text=0.1, both=0.05),
            sampling=dict(
                size=(480, 832),
                size_multiple=16,
                max_pixels=480 * 832,
                fps=16.0,
                min_frames=81,
                max_frames=81,
                text_length=512,
                steps=40,
                shift=5.66,
                guidance=dict(text=0.0, image=0.0, both=5.0),
            ),
            train=dict(
                total_steps=STEPS,
                seed=0,
                log_every=50,
                validate_every=1000,
                sample_every=5000,
                checkpoint_every=1000,
                optimizer=dict(
                    groups=groups,
                    warmup_steps=1000,
                    weight_decay=0.01,
                    accumulate=1,
                    ema_decay=0.9999,
                ),
            ),
        )
    )
    config.vae = config.get_oneway_ref("init_from")  # which --config.vae leaves alone
    if lora:
        config.lora = dict(rank=32, alpha=32.0, targets=("self_attn", "cross_attn", "ffn"))
    return config.lock()


def student(teacher: ConfigDict) -> ConfigDict:
    """A LoRA that makes in 4 passes what the model of a config makes in all of its own."""
    kept = ("compute", "storage", "mesh", "model", "text", "loader", "sampling", "train")
    fields = {name: teacher.to_dict()[name] for name in kept}
    fields["sampling"] |= dict(
        steps=4, guidance=dict(text=0.0, image=0.0, both=1.0), distilled=True
    )
    fields["train"] |= dict(total_steps=3000, validate_every=250, sample_every=1000)
    fields["train"]["checkpoint_every"] = 250
    fields["train"]["optimizer"] |= dict(
        groups=(("lora", 1e-4),), warmup_steps=100, weight_decay=0.0, ema_decay=0.99
    )
    config = ConfigDict(
        fields
        | dict(
            task="distill",
            data="data/wan_1_3b_paths",
            boards="boards.jsonl",
            objective="segments",
            init_from="runs/wan_1_3b/export",
            lora=dict(rank=64, alpha=64.0, targets=("self_attn", "cross_attn", "ffn")),
        )
    )
    config.vae = config.get_oneway_ref("init_from")
    return config.lock()
