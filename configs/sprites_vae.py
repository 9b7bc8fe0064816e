"""The autoencoder of the bundled sprites model, in three stages.

Hardware: 2 CPU cores; alchemint_jax/bundled/sprites/README.md says how long each took. Commands:

    alchemint data sprites --out data/sprites --clips 8000
    alchemint train --config configs/sprites_vae.py --workdir runs/sprites_vae_short
    alchemint train --config configs/sprites_vae.py:whole --workdir runs/sprites_vae_whole
    alchemint train --config configs/sprites_vae.py:decoder --workdir runs/sprites_vae

The weights are then in runs/sprites_vae/export/vae; configs/sprites.py goes on from there.

Short windows learn pictures fastest, but have hardly anything in their past but zeros: the first
stage alone falls apart later in a clip. The second one sees whole clips, through a small window.
The third one keeps the encoder and teaches the decoder to forgive latents that are a little off.
"""

from ml_collections import ConfigDict, config_dict

STAGES = {
    "short": dict(frames=9, batch=4, rate=2.5e-3, steps=2400),
    "whole": dict(frames=33, batch=2, rate=1.5e-3, steps=2400),
    "decoder": dict(frames=33, batch=2, rate=1.5e-3, steps=1800),
}


def get_config(stage: str = "short") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    chosen = STAGES[stage]
    config = ConfigDict(
        dict(
            task="vae",
            data="data/sprites",
            frames=chosen["frames"],
            crop=32,
            model=dict(base_dim=8, dim_mult=(1, 4, 8, 8), num_res_blocks=1),
            loader=dict(batch_size=chosen["batch"], seed=0),
            loss_weights=dict(edges=0.5, square=1.0, kl=1e-6),
            freeze_encoder=stage == "decoder",
            latent_noise=0.2 if stage == "decoder" else 0.0,
            train=dict(
                total_steps=chosen["steps"],
                seed=0,
                log_every=50,
                validate_every=600,
                sample_every=1200,
                checkpoint_every=600,
                optimizer=dict(
                    method="muon",
                    groups=(("all", chosen["rate"]),),
                    warmup_steps=50,
                    schedule="cosine",
                    total_steps=chosen["steps"],
                    final_fraction=0.02,
                    ema_decay=0.995,
                ),
            ),
        )
    )
    config.init_from = config_dict.placeholder(str)
    if stage == "whole":
        config.init_from = "runs/sprites_vae_short/export"
    elif stage == "decoder":
        config.init_from = "runs/sprites_vae_whole/export"
        config.loader.seed = 1
    return config.lock()
