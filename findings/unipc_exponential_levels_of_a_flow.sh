#!/usr/bin/env bash
# Surprise: UniPC of diffusers, set up for a flow model as Wan's repositories do, gives NaN with
#   use_exponential_sigmas or use_beta_sigmas, without a word. Levels of noise run from 157 to 0.01,
#   which are those of the variance-exploding schedule; only Karras's are brought to a flow's 0..1.
# Guess: use_flow_sigmas holds for every spacing of levels, or the combination is refused.
# Versions: diffusers 0.42.1, torch 2.13.0, Python 3.11.
# Source: UniPCMultistepScheduler.set_timesteps in diffusers/schedulers/scheduling_unipc_multistep.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet diffusers==0.42.1 torch==2.13.0 scipy
"$folder/venv/bin/python" - <<'PY'
import diffusers, torch
from diffusers import UniPCMultistepScheduler

print("diffusers", diffusers.__version__, "torch", torch.__version__)


def run(**spacing):
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, **spacing
    )
    scheduler.set_timesteps(10)
    x = torch.full((1, 4, 2, 2), 0.5)
    for t in scheduler.timesteps:
        x = scheduler.step(x, t, x).prev_sample
    levels = scheduler.sigmas
    print(f"{str(spacing):34} levels {levels[0]:.4f} to {levels[-2]:.4f}, sample {x.mean():.4f}")
    return float(levels.max()), bool(torch.isfinite(x).all())


for spacing, flow in (
    ({}, True),
    ({"use_karras_sigmas": True}, True),
    ({"use_exponential_sigmas": True}, False),
    ({"use_beta_sigmas": True}, False),
):
    highest, finite = run(**spacing)
    assert (highest <= 1, finite) == (flow, flow), "this has changed"
PY
