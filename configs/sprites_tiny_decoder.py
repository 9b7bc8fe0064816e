r"""A small decoder for the sprites autoencoder, in TAEHV's layout: frames in less time.

It learns the frames of the autoencoder's own decoder, which are made once. Hardware: 2 CPU cores;
beside other work the frames took 6 minutes and the training 13. Commands:

    alchemint data sprites --out data/sprites --clips 640
    alchemint data decode --data data/sprites --clips 360 --out data/sprites_decoded
    alchemint train --config configs/sprites_tiny_decoder.py --workdir runs/sprites_tiny_decoder

The weights are then in runs/sprites_tiny_decoder/export/tiny_decoder.safetensors. `--vae` takes
this file. In the folder of a model whose autoencoder is the same, the studio uses it for previews,
and `--vae tiny` is short for it. How near it comes to the whole decoder, and how much faster it is:

    python -m studies.tiny_decoder \
        --tiny runs/sprites_tiny_decoder/export/tiny_decoder.safetensors \
        --out runs/tiny_decoder.json

The one that comes with the sprites models was made by these commands; docs/guides/few_steps.md says
what to expect. One stage makes all four frames of a latent one, and the last convolution gives
squares of 2 x 2 pixels: most of the work is on the small grid of latents, in wide matrices.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    steps = 2000
    config = ConfigDict(
        dict(
            task="tiny_decoder",
            data="data/sprites_decoded",
            cells=3,
            model=dict(
                z_dim=8,
                widths=(48, 32),
                temporal_upsample=(4,),
                memory_blocks=2,
                patch=2,
            ),
            loader=dict(batch_size=4, seed=0),
            loss_weights=dict(edges=0.5, square=20.0, flicker=10.0),
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
