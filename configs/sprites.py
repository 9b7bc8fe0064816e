r"""The bundled sprites model: diffusion transformer and text encoder.

It is trained on latents of the sprites autoencoder in two stages: pictures, then clips.
Hardware: 2 CPU cores. Commands, after those of configs/sprites_vae.py:

    alchemint data sprites --out data/sprites_pictures --clips 32000 --frames 1
    alchemint data encode --data data/sprites_pictures --vae runs/sprites_vae/export \
        --out data/sprites_pictures_latents
    alchemint train --config configs/sprites.py:pictures --workdir runs/sprites_pictures
    alchemint data encode --data data/sprites --vae runs/sprites_vae/export \
        --out data/sprites_latents
    alchemint train --config configs/sprites.py --workdir runs/sprites \
        --config.init_from=runs/sprites_pictures/export

The whole model is then in runs/sprites/export. --config.init_from=sprites goes on from the bundled
model instead. On Linux, `. launch/env_cpu.sh` before all of this makes it faster.

What subjects look like is learnt from pictures, at a quarter of the tokens of a clip; clips teach
when they are there and how they move. The curve of the bundled run, its time and its scores are in
alchemint_jax/bundled/sprites/README.md.
"""

from ml_collections import ConfigDict, config_dict

PICTURES = dict(data="data/sprites_pictures_latents", frames=1, batch=64, shift=2.0)
CLIPS = dict(data="data/sprites_latents", frames=33, batch=8, shift=3.0)
STAGES = {
    "pictures": dict(**PICTURES, steps=1800, rate=1e-2, seed=0),
    "clips": dict(**CLIPS, steps=4000, rate=6e-3, seed=1),
}


def get_config(stage: str = "clips") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    chosen = STAGES[stage]
    frames, shift, steps, rate = (chosen[name] for name in ("frames", "shift", "steps", "rate"))
    config = ConfigDict(
        dict(
            task="dit",
            data=chosen["data"],
            vae="runs/sprites_vae/export",
            model=dict(
                dim=144,
                patch=(1, 2, 2),
                in_channels=8,
                out_channels=8,
                n_heads=3,
                n_layers=6,
                ffn_dim=576,
                text_dim=128,
                theta_t=20.0,
                theta_hw=100.0,
                slots=3,
                unroll=6,
                scheme=dict(name="FittedRope"),
            ),
            text=dict(vocab=259, dim=128, n_heads=4, head_dim=32, ffn_dim=256, n_layers=2),
            loader=dict(batch_size=chosen["batch"], seed=chosen["seed"]),
            # Subjects stand in the order of their slots.
            augment=dict(shuffle_slots=False, random_view=True),
            shift=shift,
            dropout=dict(pictures=0.05, text=0.05, both=0.1),
            sampling=dict(
                min_frames=frames,
                max_frames=frames,
                reference_size=(32, 32),
                steps=40,
                shift=shift,
                guidance=dict(text=0.0, image=0.0, both=3.0),
            ),
            train=dict(
                total_steps=steps,
                seed=chosen["seed"],
                log_every=25,
                validate_every=steps // 4,
                sample_every=steps // 2,
                checkpoint_every=steps // 8,
                optimizer=dict(
                    method="muon",
                    groups=(("backbone", rate), ("added", rate), ("text", 1e-3)),
                    warmup_steps=60,
                    schedule="cosine",
                    total_steps=steps,
                    final_fraction=0.02,
                    weight_decay=0.01,
                    ema_decay=0.995,
                ),
            ),
        )
    )
    config.init_from = config_dict.placeholder(str)
    return config.lock()
