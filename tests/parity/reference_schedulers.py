"""What diffusers makes of every field of the schedulers' configuration, each changed by itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from reference_solvers import field, inputs
from safetensors.numpy import save_file

UNIPC, EULER = "UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"
STEPS = 6
OWN = {
    UNIPC: dict(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    EULER: dict(shift=3.0),
}
ABSENT = "(absent)"
"""Stands for a field that is left out of the file."""

_LEVELS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
SINGLE = {
    UNIPC: {
        "num_train_timesteps": (500, ABSENT),
        "beta_start": (0.001,),
        "beta_end": (0.05,),
        "beta_schedule": ("scaled_linear", "squaredcos_cap_v2", "cosine"),
        "trained_betas": ([0.1, 0.2],),
        "solver_order": (1, 3, 4),
        "prediction_type": ("epsilon", "sample", "v_prediction", ABSENT),
        "thresholding": (True,),
        "dynamic_thresholding_ratio": (0.5,),
        "sample_max_value": (2.0,),
        "predict_x0": (False,),
        "solver_type": ("bh1", "midpoint", "other"),
        "lower_order_final": (False,),
        "disable_corrector": ([0, 2], [-1], None),
        "solver_p": ("other",),
        "use_karras_sigmas": (True,),
        "use_exponential_sigmas": (True,),
        "use_beta_sigmas": (True,),
        "use_flow_sigmas": (False, ABSENT),
        "flow_shift": (1.0, 8, ABSENT),
        "timestep_spacing": ("leading", "trailing", "other"),
        "steps_offset": (1,),
        "final_sigmas_type": ("sigma_min", "other"),
        "rescale_betas_zero_snr": (True,),
        "use_dynamic_shifting": (True,),
        "time_shift_type": ("linear",),
        "sigma_min": (0.1,),
        "sigma_max": (0.9,),
        "shift_terminal": (0.1, 0, ABSENT),
        "shift": (7.0,),
        "base_shift": (7.0,),
        "max_shift": (7.0,),
        "base_image_seq_len": (7,),
        "max_image_seq_len": (7,),
        "invert_sigmas": (True,),
        "stochastic_sampling": (True,),
        "_use_default_values": (["flow_shift"],),
    },
    EULER: {
        "num_train_timesteps": (500,),
        "shift": (1.0, 8, ABSENT),
        "use_dynamic_shifting": (True,),
        "base_shift": (1.0,),
        "max_shift": (3.0,),
        "base_image_seq_len": (7,),
        "max_image_seq_len": (7,),
        "invert_sigmas": (True,),
        "shift_terminal": (0.1, 0),
        **{name: (True,) for name in _LEVELS},
        "time_shift_type": ("linear", "other"),
        "stochastic_sampling": (True,),
        "sigma_min": (0.1,),
        "solver_order": (3,),
        "prediction_type": ("epsilon",),
        "flow_shift": (7.0,),
        "_use_default_values": (["shift"],),
    },
}
_LAST = {"final_sigmas_type": "sigma_min"}
TOGETHER: dict[str, tuple[dict, ...]] = {
    UNIPC: (
        {"solver_type": "bh1", **_LAST},
        {"solver_type": "bh1", "solver_order": 1, **_LAST},
        {"solver_type": "bh1", "solver_order": 3, **_LAST},
        {"lower_order_final": False, **_LAST},
        {"lower_order_final": False, "solver_order": 1},
        {"lower_order_final": False, "solver_order": 3, **_LAST},
        {"disable_corrector": [1, 3], "solver_order": 3},
        {"use_karras_sigmas": True, **_LAST},
        {"use_karras_sigmas": True, "solver_order": 3},
        {"use_karras_sigmas": True, "beta_end": 0.05},
        {"use_karras_sigmas": True, "sigma_max": 20.0},
        {"use_karras_sigmas": True, "shift_terminal": 0.1},
        {"use_karras_sigmas": True, "flow_shift": 8.0},
        {"use_karras_sigmas": True, "use_beta_sigmas": True},
        {"shift_terminal": 0.1, **_LAST},
    ),
    EULER: (
        {"use_karras_sigmas": True, "sigma_min": 0.1},
        {"use_karras_sigmas": True, "use_beta_sigmas": True},
        *({name: True, "shift_terminal": 0.1} for name in _LEVELS),
        {"use_beta_sigmas": True, "shift": 8.0},
    ),
}


def base(kind: str) -> dict:
    """The file of a scheduler as Wan's repositories have it, every field in it."""
    return json.loads(getattr(diffusers, kind)(**OWN[kind]).to_json_string())


def changes() -> list[tuple[str, dict]]:
    single = [
        (kind, {name: value})
        for kind, fields in SINGLE.items()
        for name, values in fields.items()
        for value in values
    ]
    return single + [(kind, change) for kind, found in TOGETHER.items() for change in found]


def changed(config: dict, change: dict) -> dict:
    return {k: v for k, v in {**config, **change}.items() if v != ABSENT}


def run(config: dict, steps: int = STEPS) -> dict[str, np.ndarray] | None:
    """Levels, times in [0, 1], and the sample after every step; None where diffusers stops, or
    ends with something that is no number. Random numbers are those of a fixed seed.
    """
    torch.manual_seed(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "scheduler_config.json").write_text(json.dumps(config))
            chosen = getattr(diffusers, config["_class_name"]).from_pretrained(folder)
        chosen.set_timesteps(steps)
        chosen.set_begin_index(0)
        found = {"sigmas": chosen.sigmas.numpy(), "times": chosen.timesteps.numpy() / 1000}
        chosen.sigmas = chosen.sigmas.double()  # levels stay what they are; arithmetic gets finer
        weight, z = (torch.from_numpy(x).double() for x in inputs().values())
        z, samples = z[:, None], []  # some code wants an axis of channels
        for t in chosen.timesteps:
            v = field(z, t.double() / 1000, weight)
            z = chosen.step(v, t, z, return_dict=False)[0].double()
            samples.append(z[:, 0].numpy())
    except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError):
        return None
    found["samples"] = np.stack(samples)
    return found if np.isfinite(found["samples"]).all() else None


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def write(directory: Path) -> None:
    tensors, cases = inputs(), []
    bases = {kind: base(kind) for kind in SINGLE}
    plain = {kind: run(config) for kind, config in bases.items()}
    for kind, found in plain.items():
        tensors |= {f"{kind}/{key}": x for key, x in found.items()}
    for kind, change in changes():
        found = run(changed(bases[kind], change))
        outcome = "stopped" if found is None else "same" if same(found, plain[kind]) else "other"
        name = f"{kind}-{len(cases)}"
        cases.append({"name": name, "change": change, "outcome": outcome})
        if outcome == "other":
            tensors |= {f"{name}/{key}": x for key, x in found.items()}
    tensors = {
        name: np.float32(x) if name.endswith("samples") else x for name, x in tensors.items()
    }
    save_file(tensors, directory / "io.safetensors")
    text = json.dumps({"bases": bases, "steps": STEPS, "cases": cases}, indent=1)
    (directory / "cases.json").write_text(text + "\n")
