"""The autoencoder of the bundled sprites model, in two stages.

Hardware: 2 CPU cores; alchemint_jax/bundled/sprites/README.md says how long each took. Commands:

    alchemint data sprites --out data/sprites --clips 8000
    alchemint train --config configs/sprites_vae.py --workdir runs/sprites_vae_short
    alchemint train --config configs/sprites_vae.py:whole --workdir runs/sprites_vae

The weights are then in runs/sprites_vae/export/vae; configs/sprites.py goes on from there.

Short windows learn pictures fastest, but have hardly anything in their past but zeros: the first
stage alone falls apart later in a clip. The second one sees whole clips, through a small window.

The weight of the KL is far above the usual 1e-6, so that the latents hold few nats for the
transformer to generate.
"""

from ml_collections import ConfigDict, config_dict

FRAMES = {"short": 9, "whole": 33}


def get_config(stage: str = "short") -> ConfigDict:
    if stage not in FRAMES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(FRAMES)}")
    short = stage == "short"
    steps = 1500 if short else 2700
    config = ConfigDict(
        dict(
            task="vae",
            data="data/sprites",
            frames=FRAMES[stage],
            crop=32,
            model=dict(
                base_dim=8,
                dim_mult=(1, 4, 8),
                num_res_blocks=1,
                temporal_downsample=(True, True),
                z_dim=8,
                latents_mean=(0.0,) * 8,
                latents_std=(1.0,) * 8,
            ),
            loader=dict(batch_size=4 if short else 2, seed=0),
            loss_weights=dict(edges=0.5, square=4.0, kl=1e-3 if short else 8e-3),
            train=dict(
                total_steps=steps,
                seed=0,
                log_every=50,
                validate_every=500 if short else 600,
                sample_every=steps,
                checkpoint_every=500 if short else 600,
                optimizer=dict(
                    method="muon",
                    groups=(("all", 2.5e-3 if short else 1.5e-3),),
                    warmup_steps=50,
                    schedule="cosine",
                    total_steps=steps,
                    final_fraction=0.02,
                    ema_decay=0.995,
                ),
            ),
        )
    )
    config.init_from = config_dict.placeholder(str)
    if not short:
        config.init_from = "runs/sprites_vae_short/export"
    return config.lock()
