"""How a model in Wan's format is used, where it has no pipeline.json of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.schedulers import read_scheduler
from alchemint_jax.sampling.settings import Settings

MAX_PIXELS = 1280 * 720


def wan_settings(directory: Path, unit: int) -> Settings:
    """Wan2.1's own defaults, sampled as `scheduler/scheduler_config.json` says.

    480 x 832 pixels, 16 frames per second, up to 81 frames, captions of 512 tokens, 50 steps,
    guidance 5 (Wan2.1's generate.py and model cards).

    Args:
        directory: of the model.
        unit: pixels on a side of a token; sizes are multiples of it.

    Raises:
        WeightsError: the scheduler is damaged or of an unknown kind, or cannot be followed.
    """
    file = directory / "scheduler" / "scheduler_config.json"
    chosen: dict[str, Any] = {"solver": "unipc", "grid": "diffusers-unipc", "shift": 5.0}
    if file.is_file():
        chosen = read_scheduler(file)
    try:
        return Settings(
            size=(480, 832),
            size_multiple=unit,
            max_pixels=MAX_PIXELS,
            fps=16.0,
            max_frames=81,
            text_length=512,
            tag_length=16,
            steps=50,
            guidance=Guidance(both=5.0),
            **chosen,
        )
    except ConfigError as error:
        raise WeightsError(f"{file}: {error}") from error
