"""The autoencoder of the bundled sprites model.

Hardware: 2 CPU cores; `alchemint_jax/bundled/sprites/README.md` says how long it took. Commands, in
order:

    alchemint data sprites --out data/sprites --clips 8000
    alchemint train --config configs/sprites_vae.py --workdir runs/sprites_vae

The weights are then in runs/sprites_vae/export/vae; configs/sprites.py goes on from there.

Windows are narrow but as long as the clips: an autoencoder that saw nine frames at a time has hardly
ever seen anything but zeros before a frame, and falls apart later in a clip.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict(
        dict(
            task="vae",
            data="data/sprites",
            frames=33,
            crop=32,
            model=dict(base_dim=8, dim_mult=(1, 4, 8, 8), num_res_blocks=1),
            loader=dict(batch_size=2, seed=0),
            loss_weights=dict(edges=0.5, square=1.0, kl=1e-6),
            train=dict(
                total_steps=3600,
                seed=0,
                log_every=50,
                validate_every=900,
                sample_every=1800,
                checkpoint_every=500,
                optimizer=dict(
                    method="muon",
                    groups=(("all", 2.5e-3),),
                    warmup_steps=50,
                    schedule="cosine",
                    total_steps=3600,
                    final_fraction=0.02,
                    ema_decay=0.998,
                ),
            ),
        )
    )
    config.init_from = config_dict.placeholder(str)
    return config.lock()
