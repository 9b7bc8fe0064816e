r"""A small decoder for the sprites autoencoder, in TAEHV's layout: previews in less time.

It learns the frames of the autoencoder's own decoder. Hardware: 2 CPU cores. The run in full has
not been made, and no weights come with the package. Commands:

    alchemint data sprites --out data/sprites --clips 640
    alchemint train --config configs/sprites_tiny_decoder.py --workdir runs/sprites_tiny_decoder

The weights are then in runs/sprites_tiny_decoder/export/tiny_decoder.safetensors. `--vae` takes
this file. In the folder of a model whose autoencoder is the same, the studio uses it for previews,
and `--vae tiny` is short for it. How near it comes to the whole decoder, and how much faster it is:

    python -m studies.tiny_decoder \
        --tiny runs/sprites_tiny_decoder/export/tiny_decoder.safetensors \
        --out runs/tiny_decoder.json
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    steps = 3000
    config = ConfigDict(
        dict(
            task="tiny_decoder",
            data="data/sprites",
            teacher="sprites",
            frames=17,
            crop=32,
            noise=0.1,
            model=dict(
                z_dim=8,
                widths=(48, 24, 16),
                temporal_upsample=(True, True),
                memory_blocks=1,
            ),
            loader=dict(batch_size=4, seed=0),
            loss_weights=dict(edges=0.5, square=4.0),
            train=dict(
                total_steps=steps,
                seed=0,
                log_every=50,
                validate_every=500,
                sample_every=steps,
                checkpoint_every=500,
                optimizer=dict(
                    method="muon",
                    groups=(("all", 4e-3),),
                    warmup_steps=50,
                    schedule="cosine",
                    total_steps=steps,
                    final_fraction=0.02,
                    ema_decay=0.99,
                ),
            ),
        )
    )
    return config.lock()
