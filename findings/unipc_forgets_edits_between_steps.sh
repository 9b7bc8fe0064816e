#!/usr/bin/env bash
# Surprise: latents that are changed between two steps, which is what callback_on_step_end of
#   diffusers' pipelines is for, hardly matter under UniPC, the sampler of Wan's models. Its corrector
#   makes the sample of each step anew from the one before, which it has kept, and reads the one that
#   it is given for its type alone. With a velocity that does not depend on the latents, about 1 % of
#   the change is left in the next step's output, and less at the end; with disable_corrector for that
#   step, or with Euler's method, all of it (to half a percent).
# Guess: what a callback returns as latents is what the sampler goes on from, with every scheduler.
# Versions: diffusers 0.42.1, torch 2.13.0, Python 3.11.
# Source: UniPCMultistepScheduler.step and multistep_uni_c_bh_update in
#   diffusers/schedulers/scheduling_unipc_multistep.py; "Callbacks" in the guide of pipelines.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet diffusers==0.42.1 torch==2.13.0 scipy
"$folder/venv/bin/python" - <<'PY'
import diffusers, torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

print("diffusers", diffusers.__version__, "torch", torch.__version__)
STEPS, CHANGED = 50, 5


def unipc(**options):
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, **options
    )


def run(scheduler, change):
    """The samples after each step, when one is changed behind step CHANGED."""
    scheduler.set_timesteps(STEPS)
    velocity = torch.full((1, 4, 2, 2), 0.5)
    x, seen = torch.ones(1, 4, 2, 2), []
    for number, t in enumerate(scheduler.timesteps):
        x = scheduler.step(velocity, t, x).prev_sample
        if number == CHANGED:
            x = x + change
        seen.append(x)
    return seen


def left(scheduler):
    """The share of a change that is left one step later, and at the end."""
    changed, same = run(scheduler(), 1.0), run(scheduler(), 0.0)
    return [float((changed[i] - same[i]).mean()) for i in (CHANGED + 1, -1)]


shares = {
    "UniPC": left(unipc),
    "UniPC, no corrector then": left(lambda: unipc(disable_corrector=[CHANGED])),
    "Euler": left(lambda: FlowMatchEulerDiscreteScheduler(shift=3.0)),
}
for name, (soon, end) in shares.items():
    print(f"{name:26} one step later {soon:7.4f}, at the end {end:7.4f}")
assert all(abs(share) < 0.05 for share in shares["UniPC"]), "this has changed"
for name in list(shares)[1:]:
    assert all(abs(share - 1) < 0.01 for share in shares[name]), "this has changed"
PY
