"""AlcheMinT on Wan2.1-T2V-14B: as configs/wan_1_3b.py, whose docstring is the runbook.

Commands, with the weights of Wan-AI/Wan2.1-T2V-14B-Diffusers in models/Wan2.1-T2V-14B-Diffusers and
data encoded as there (both sizes have the same autoencoder and the same text encoder):

    alchemint train --config configs/wan_14b.py --workdir runs/wan_14b
    alchemint train --config configs/wan_14b.py:lora --workdir runs/wan_14b_lora

Memory, from the shapes: weights, their average, two moments and gradients of the whole transformer
are 5 x 53.4 GiB; those of a LoRA of rank 32 and the additions are 5 x 0.75 GiB, beside 53.2 GiB of
frozen weights. `mesh` splits all of it. Hardware: 16 accelerators of 80 GB for the whole (the
paper's), 8 for a LoRA. The batch is split into two parts (`accumulate`). It has not been run
either.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import run_file

SMALLER = run_file(Path(__file__).with_name("wan_1_3b.py"))


def get_config(kind: str = "full") -> ConfigDict:
    config = SMALLER["recipe"]("wan2.1-14b", "models/Wan2.1-T2V-14B-Diffusers", kind)
    config.train.optimizer.accumulate = 2
    return config
