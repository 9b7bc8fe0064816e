r"""A small decoder for the sprites autoencoder, in TAEHV's layout: frames in less time.

It learns the frames of the autoencoder's own decoder, which are made once, of clips and of what the
student `sprites/fast` makes: first by the error of pixels, from latents with noise, then whole
clips of clean latents and by the energies of edges and motion, which the error of pixels alone
leaves too low and too high. Hardware: one CPU core, beside other work; the frames of the first took
3 minutes and its training 24, those of the second 2 and its training 17. Commands:

    alchemint data sprites --out data/sprites --clips 640
    alchemint data paths --model sprites/fast --boards sprites --limit 768 --seed 2000 \
        --student-steps 2 --out data/sprites_fast_paths
    alchemint data decode --data data/sprites --clips 360 --paths data/sprites_fast_paths \
        --out data/sprites_decoded
    alchemint train --config configs/sprites_tiny_decoder.py --workdir runs/sprites_tiny_first
    alchemint data decode --data data/sprites --clips 64 --paths data/sprites_fast_paths --noise 0 \
        --out data/sprites_decoded_clean
    alchemint train --config configs/sprites_tiny_decoder.py:sharp --workdir runs/sprites_tiny

The weights are then in runs/sprites_tiny/export/tiny_decoder.safetensors. `--vae` takes this file.
In the folder of a model whose autoencoder is the same, the studio uses it for previews, and `--vae
tiny` is short for it. How near it comes to the whole decoder, and how much faster it is:

    python -m studies.tiny_decoder \
        --tiny runs/sprites_tiny/export/tiny_decoder.safetensors --out runs/tiny_decoder.json

The one that comes with the sprites models was made by these commands, when the student still took 4
steps; docs/guides/few_steps.md says what to expect. One stage makes all four frames of a latent
one, and the last convolution gives squares of 2 x 2 pixels: most of the work is on the small grid
of latents, in wide matrices.
"""

from ml_collections import ConfigDict, config_dict

WEIGHTS = dict(edges=0.5, square=20.0, flicker=10.0)
FIRST = "runs/sprites_tiny_first/export/tiny_decoder.safetensors"
STAGES = {
    "first": dict(
        data="sprites_decoded",
        init_from=None,
        cells=5,
        batch=3,
        steps=5000,
        rate=4e-3,
        weights=WEIGHTS,
    ),
    "sharp": dict(
        data="sprites_decoded_clean",
        init_from=FIRST,
        cells=9,
        batch=2,
        steps=1800,
        rate=1.5e-3,
        weights=WEIGHTS | dict(flicker=30.0, energy=300.0),
    ),
}


def get_config(stage: str = "first") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    chosen = STAGES[stage]
    steps = chosen["steps"]
    config = ConfigDict(
        dict(
            task="tiny_decoder",
            data=f"data/{chosen['data']}",
            cells=chosen["cells"],
            model=dict(
                z_dim=8,
                widths=(64, 64),
                temporal_upsample=(4,),
                memory_blocks=4,
                patch=2,
            ),
            loader=dict(batch_size=chosen["batch"], seed=0),
            loss_weights=chosen["weights"],
            train=dict(
                total_steps=steps,
                seed=0,
                log_every=50,
                validate_every=500,
                sample_every=steps,
                checkpoint_every=500,
                optimizer=dict(
                    method="muon",
                    groups=(("all", chosen["rate"]),),
                    warmup_steps=50,
                    schedule="cosine",
                    total_steps=steps,
                    final_fraction=0.02,
                    ema_decay=0.99,
                ),
            ),
        )
    )
    config.init_from = config_dict.placeholder(str)
    config.init_from = chosen["init_from"]
    return config.lock()
