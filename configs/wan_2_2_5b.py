r"""AlcheMinT on Wan2.2-TI2V-5B: as configs/wan_1_3b.py, whose docstring is the runbook.

Commands, with the weights of Wan-AI/Wan2.2-TI2V-5B-Diffusers in models/Wan2.2-TI2V-5B-Diffusers,
and clips that `alchemint annotate` has made as there:

    alchemint data encode --data data/clips/dataset --out data/clips_latents_5b \
        --vae models/Wan2.2-TI2V-5B-Diffusers --text models/Wan2.2-TI2V-5B-Diffusers \
        --buckets 121x704x1280,121x1280x704,1x704x1280 --fps 24
    alchemint train --config configs/wan_2_2_5b.py --workdir runs/wan_2_2_5b

The same with :lora behind the config's name trains a LoRA. Latents are those of Wan2.2's
autoencoder (16 x 16 x 4, 48 channels), so that a clip of 121 frames of 704 x 1280 is 27,280 tokens,
and a reference 880. Half of the clips give their first frame (`first_frame`), clean and with a time
of 0, as the model was trained; the others start from nothing. So it still does both.

Memory, from the shapes: weights, their average, two moments and gradients are 5 x 18.6 GiB, in
float32; `mesh` splits all of it. Hardware: 8 accelerators of 80 GB. It has not been run.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import run_file

WAN = run_file(Path(__file__).with_name("wan_1_3b.py"))


def get_config(kind: str = "full") -> ConfigDict:
    config = WAN["recipe"]("wan2.2-ti2v-5b", "models/Wan2.2-TI2V-5B-Diffusers", kind).unlock()
    config.data = "data/clips_latents_5b"
    config.first_frame = 0.5
    config.shift = 5.0
    config.sampling.update(
        size=(704, 1280),
        size_multiple=32,
        max_pixels=704 * 1280,
        fps=24.0,
        min_frames=121,
        max_frames=121,
        steps=50,
        shift=5.0,
        given_frames=True,
    )
    return config.lock()
