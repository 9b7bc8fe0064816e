"""How a model in Wan's format is used, where it has no pipeline.json of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alchemint_jax.errors import WeightsError
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.settings import Settings

MAX_PIXELS = 1280 * 720
_SCHEDULERS = {
    "UniPCMultistepScheduler": ("unipc", "diffusers-unipc", "flow_shift"),
    "FlowMatchEulerDiscreteScheduler": ("euler", "diffusers-euler", "shift"),
}


def wan_settings(directory: Path, unit: int) -> Settings:
    """Wan2.1's own defaults, with solver and shift from `scheduler/scheduler_config.json`.

    480 x 832 pixels, 16 frames per second, up to 81 frames, captions of 512 tokens, 50 steps,
    guidance 5 (Wan2.1's generate.py and model cards).

    Args:
        directory: of the model.
        unit: pixels on a side of a token; sizes are multiples of it.

    Raises:
        WeightsError: the scheduler is damaged or of an unknown kind.
    """
    file = directory / "scheduler" / "scheduler_config.json"
    fields: dict[str, Any] = {"_class_name": "UniPCMultistepScheduler", "flow_shift": 5.0}
    if file.is_file():
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            kind = fields["_class_name"]
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise WeightsError(f"{file} is damaged: {e}") from e
        if kind not in _SCHEDULERS:
            known = ", ".join(_SCHEDULERS)
            raise WeightsError(f"{file}: _class_name is {kind!r}; only {known} can be run")
    solver, grid, name = _SCHEDULERS[fields["_class_name"]]
    shift = fields.get(name, 1.0)
    if type(shift) not in (int, float) or not shift > 0:
        raise WeightsError(f"{file}: {name} is {shift!r}; it must be a positive number")
    return Settings(
        size=(480, 832),
        size_multiple=unit,
        max_pixels=MAX_PIXELS,
        fps=16.0,
        max_frames=81,
        text_length=512,
        tag_length=16,
        steps=50,
        shift=float(shift),
        guidance=Guidance(both=5.0),
        solver=solver,
        grid=grid,
    )
