r"""The bundled sprites model: diffusion transformer and text encoder.

It is trained on latents of the sprites autoencoder. Hardware: 2 CPU cores. Commands, after those of
configs/sprites_vae.py:

    alchemint data encode --data data/sprites --vae runs/sprites_vae/export \
        --out data/sprites_latents
    alchemint train --config configs/sprites.py --workdir runs/sprites

The whole model is then in runs/sprites/export. --config.init_from=DIR starts from a model that
there is already ("sprites", the bundled one) instead of from scratch. On Linux, jemalloc (Debian's
libjemalloc2), told to keep its memory, makes all of this faster:

    export LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2 \
        MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always,metadata_thp:always

The curve of the bundled run, its time and its scores are in
alchemint_jax/bundled/sprites/README.md.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict(
        dict(
            task="dit",
            data="data/sprites_latents",
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
            loader=dict(batch_size=8, seed=0),
            shift=3.0,
            dropout=dict(pictures=0.05, text=0.05, both=0.1),
            sampling=dict(
                min_frames=33,
                reference_size=(32, 32),
                steps=40,
                shift=3.0,
                guidance=dict(text=0.0, image=0.0, both=3.0),
            ),
            train=dict(
                total_steps=9000,
                seed=0,
                log_every=25,
                validate_every=1500,
                sample_every=2500,
                checkpoint_every=500,
                optimizer=dict(
                    method="muon",
                    groups=(("backbone", 6e-3), ("added", 6e-3), ("text", 1e-3)),
                    warmup_steps=60,
                    schedule="cosine",
                    total_steps=9000,
                    final_fraction=0.02,
                    weight_decay=0.01,
                    ema_decay=0.998,
                ),
            ),
        )
    )
    config.init_from = config_dict.placeholder(str)
    return config.lock()
