r"""AlcheMinT on Wan2.2-T2V-A14B, one expert at a time: as configs/wan_14b.py.

Commands, with the weights of Wan-AI/Wan2.2-T2V-A14B-Diffusers in
models/Wan2.2-T2V-A14B-Diffusers, and data encoded as for configs/wan_1_3b.py (the autoencoder and
the text encoder are those of Wan2.1):

    alchemint train --config configs/wan_2_2_14b.py:high --workdir runs/wan_2_2_14b_high
    alchemint train --config configs/wan_2_2_14b.py:low --workdir runs/wan_2_2_14b

The first expert makes the steps of time 0.875 and above, and is trained at these times; the second
run trains the other one at the times below, and starts from what the first one exported. Both
experts are then in runs/wan_2_2_14b/export. The same with :high_lora and :low_lora trains LoRAs,
of which `alchemint generate` takes the first as --lora and the second as --lora-2.

Memory is that of configs/wan_14b.py while it trains; the other expert is read only where samples
are made, which are left out here. Hardware: that of configs/wan_14b.py. It has not been run.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import run_file

WAN = run_file(Path(__file__).with_name("wan_1_3b.py"))
DIRECTORY = "models/Wan2.2-T2V-A14B-Diffusers"
STARTS = {
    "high": DIRECTORY,
    "high_lora": DIRECTORY,
    "low": "runs/wan_2_2_14b_high/export",
    "low_lora": "runs/wan_2_2_14b_high_lora/export",
}


def get_config(kind: str = "high") -> ConfigDict:
    if kind not in STARTS:
        raise ValueError(f"no kind {kind!r}; there are {', '.join(STARTS)}")
    expert, _, lora = kind.partition("_")
    config = WAN["recipe"]("wan2.1-14b", STARTS[kind], lora or "full").unlock()
    config.expert = expert
    config.train.optimizer.accumulate = 2
    config.train.sample_every = 0
    config.sampling.boundary = 0.875
    config.sampling.guidance.both = 4.0
    config.sampling.guidance_low = dict(text=0.0, image=0.0, both=3.0)
    return config.lock()
