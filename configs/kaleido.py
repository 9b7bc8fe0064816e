r"""Kaleido's recipe on Wan2.1-T2V-14B: several subjects from pictures, without times.

After arXiv 2510.18573 and the released code (zai-org/Kaleido). Nothing is added to Wan. References
are clean latents beside the video, modulated with its time; R-RoPE puts them at t = 0, 1, 2 and at
rows and columns from 80 on, which all of them share. Every kind of picture has its weight (crop 1,
segment 5, inpaint 3, redux 1), so that 40 % show a subject on another background or in another
pose, and one picture of each subject is drawn. Captions are dropped in 10 % of samples, and
pictures never: guidance is v_I + 6 (v_IT - v_I). Commands, with Wan-AI/Wan2.1-T2V-14B-Diffusers in
models/Wan2.1-T2V-14B-Diffusers, and videos in the folder videos:

    alchemint annotate videos --out data/clips
    alchemint data encode --data data/clips/dataset --out data/kaleido_latents \
        --vae models/Wan2.1-T2V-14B-Diffusers --text models/Wan2.1-T2V-14B-Diffusers \
        --buckets 81x480x832 --fps 16 --views 4 --kinds crop=1,segment=5,inpaint=3,redux=1 --cross 0
    alchemint train --config configs/kaleido.py --workdir runs/kaleido
    alchemint train --config configs/kaleido.py:sft --workdir runs/kaleido_sft \
        --config.init_from=runs/kaleido/export

The first run is the paper's 10 K steps of batch 256 at 1e-5; the second its 5 K steps on the best
clips at 5e-6 (--config.data=DIR names them). AdamW with betas 0.9 and 0.95, decay 1e-4, gradients
clipped at 0.1, a constant rate.

What differs: times are shifted as the paper does for the tokens of a frame of 480 x 832 (2.06), but
they are uniform before that, as in all recipes here, and the paper's are logistic-normal. The
models that annotated its clips are not released; kinds of pictures that `annotate` has not made are
left out, and the others keep their ratio. References come first in time, as in the released
weights; with --config.model.layout.after_video=True they come last. Hardware: 64 accelerators of 80
GB, see the memory in configs/wan_14b.py. It has not been run.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import run_file

WAN = run_file(Path(__file__).with_name("wan_1_3b.py"))
STAGES = {"pairs": dict(steps=10_000, rate=1e-5), "sft": dict(steps=5_000, rate=5e-6)}


def get_config(stage: str = "pairs") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    steps, rate = STAGES[stage]["steps"], STAGES[stage]["rate"]
    config = WAN["recipe"]("wan2.1-14b", "models/Wan2.1-T2V-14B-Diffusers", "full").unlock()
    config.data = "data/kaleido_latents"
    config.model.index = False
    config.model.tags = False
    config.model.reference_time = "video"
    config.model.layout = dict(
        name="ReferenceLayout", shift_hw=True, offset=(80, 80), slot_times=(0, 1, 2)
    )
    config.loader.batch_size = 256
    config.shift = 2.06
    config.dropout = dict(pictures=0.0, text=0.1, both=0.0)
    config.sampling.steps = 50
    config.sampling.shift = 7.0
    config.sampling.guidance = dict(text=0.0, image=-5.0, both=6.0)
    config.train.total_steps = steps
    config.train.optimizer = dict(
        groups=(("backbone", rate), ("added", rate)),
        b2=0.95,
        weight_decay=1e-4,
        clip_norm=0.1,
        accumulate=4,
        ema_decay=0.9999,
    )
    return config.lock()
