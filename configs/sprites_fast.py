r"""The bundled model in 2 passes instead of 80: a LoRA that holds 40 steps and their guidance.

A teacher, `sprites` in 16 steps of UniPC with its own guidance, is followed from noise to clips on
storyboards of the sprites world; no clips are needed. The student learns to take each of 2 steps
as the teacher takes 8 of its own, and then to end where the teacher ends. Hardware: 2 CPU cores.
Commands; the second training goes on from the last checkpoint of the first:

    alchemint data paths --model sprites --boards sprites --limit 256 --seed 1000 \
        --steps 16 --solver unipc --student-steps 2 --out data/sprites_paths
    alchemint train --config configs/sprites_fast.py:segments --workdir runs/sprites_fast
    alchemint train --config configs/sprites_fast.py:path --workdir runs/sprites_fast

The whole model is then in runs/sprites_fast/export. What comes with the package as `sprites/fast`
is the LoRA alone, which is added to `sprites` as it is loaded. Its strength was chosen on
boards of another seed, where 1 left edges a little too soft:

    python -m studies.fast_weights --model runs/sprites_fast/export --strength 1.1 \
        --out runs/sprites_fast/bundle

Whether a student may stand in for its teacher is measured on other boards, by its distance to the
teacher from the same noise, by edges, motion and diversity, and only then by time and identity:

    python -m studies.few_steps --student runs/sprites_fast/export --out runs/few_steps.json
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

STAGES = {
    "segments": dict(objective="segments", batch=8, steps=150, cosine=700, ema=0.98),
    "path": dict(objective="path", batch=4, steps=560, cosine=560, ema=0.98),
}
RATE = 3e-3


def get_config(stage: str = "segments") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    chosen = STAGES[stage]
    base = load_config(Path(__file__).with_name("sprites.py"))
    sampling = base.sampling.to_dict()
    sampling |= dict(steps=2, guidance=dict(text=0.0, image=0.0, both=1.0), distilled=True)
    config = ConfigDict(
        dict(
            task="distill",
            data="data/sprites_paths",
            boards="sprites",
            objective=chosen["objective"],
            init_from="sprites",
            vae="sprites",
            model=base.model.to_dict(),
            text=base.text.to_dict(),
            lora=dict(rank=20, alpha=20.0, targets=("self_attn", "cross_attn", "ffn")),
            loader=dict(batch_size=chosen["batch"], seed=0),
            sampling=sampling,
            train=dict(
                total_steps=chosen["steps"],
                seed=0,
                log_every=10,
                validate_every=20,
                sample_every=0,
                checkpoint_every=20,
                optimizer=dict(
                    groups=(("lora", RATE),),
                    warmup_steps=20,
                    schedule="cosine",
                    total_steps=chosen["cosine"],
                    final_fraction=0.02,
                    ema_decay=chosen["ema"],
                ),
            ),
        )
    )
    return config.lock()
