"""Trajectories of diffusers' flow schedulers through a field that bends and changes with time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from safetensors.numpy import save_file

SHIFTS = (3.0, 5.0)
STEPS = (1, 2, 3, 10, 50)


def cases() -> list[dict]:
    """Each solver on the grid that diffusers gives it."""
    pairs = {"unipc": "diffusers-unipc", "euler": "diffusers-euler"}
    return [
        {"name": f"{solver}-{shift:g}-{steps}", "solver": solver, "grid": grid}
        | {"shift": shift, "steps": steps}
        for solver, grid in pairs.items()
        for shift in SHIFTS
        for steps in STEPS
    ]


def scheduler(case: dict):
    """As a Wan pipeline uses it: the first step is the first level, though times may repeat."""
    if case["solver"] == "unipc":
        chosen = UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=case["shift"],
            solver_order=2,
        )
    else:
        chosen = FlowMatchEulerDiscreteScheduler(shift=case["shift"])
    chosen.set_timesteps(case["steps"])
    chosen.set_begin_index(0)
    return chosen


def inputs() -> dict[str, np.ndarray]:
    """Weights of the field, and the noise that solutions start from; float32 holds them."""
    rng = np.random.default_rng(0)
    weight, noise = rng.standard_normal((8, 8)), rng.standard_normal((2, 8))
    return {"weight": weight.astype(np.float32), "noise": noise.astype(np.float32)}


def field(z: torch.Tensor, t: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.tanh(z @ weight) * torch.cos(3 * t) + z * torch.sin(2 * t) / 2


def run(case: dict, dtype: torch.dtype = torch.float64) -> dict[str, np.ndarray]:
    """Levels, times in [0, 1], and the sample after every step, computed in `dtype`."""
    chosen = scheduler(case)
    found = {"sigmas": chosen.sigmas.numpy(), "times": chosen.timesteps.numpy() / 1000}
    chosen.sigmas = chosen.sigmas.to(dtype)  # levels stay what they are; arithmetic gets finer
    given = {name: torch.from_numpy(x).to(dtype) for name, x in inputs().items()}
    z, samples = given["noise"], []
    for t in chosen.timesteps:
        v = field(z, t.to(torch.float64) / 1000, given["weight"]).to(dtype)
        z = chosen.step(v, t, z, return_dict=False)[0].to(dtype)
        samples.append(z.numpy())
    return found | {"samples": np.stack(samples)}


def write(directory: Path) -> None:
    tensors = inputs()
    for case in cases():
        tensors |= {f"{case['name']}/{key}": x for key, x in run(case).items()}
    save_file(tensors, directory / "io.safetensors")
    (directory / "cases.json").write_text(json.dumps(cases(), indent=1) + "\n")
