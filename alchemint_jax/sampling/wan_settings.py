"""How a model in Wan's format is used, where it has no pipeline.json of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.sampling.guidance import Guidance
from alchemint_jax.sampling.schedulers import read_scheduler
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.weights.index import Pair

MAX_PIXELS = 1280 * 720
NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，"
    "毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""What Wan's authors lead away from; Kaleido's leave one phrase out."""
# Of Wan2.1: 480 x 832 pixels, 16 frames per second, up to 81 frames (its generate.py, model cards).
_WAN: dict[str, Any] = {
    "size": (480, 832),
    "max_pixels": MAX_PIXELS,
    "fps": 16.0,
    "max_frames": 81,
    "steps": 50,
    "guidance": Guidance(both=5.0),
}
# Of Wan2.2, github.com/Wan-Video/Wan2.2, wan/configs: TI2V-5B, T2V-A14B, I2V-A14B.
_TI2V = {
    "size": (704, 1280),
    "max_pixels": 704 * 1280,
    "fps": 24.0,
    "max_frames": 121,
    "negative_prompt": NEGATIVE,
    "given_frames": True,
}
_A14B = {"steps": 40, "negative_prompt": NEGATIVE}
_T2V_PAIR = {"guidance": Guidance(both=4.0), "guidance_low": Guidance(both=3.0)}
_I2V_PAIR = {"guidance": Guidance(both=3.5)}


def wan_settings(
    directory: Path, unit: int, pair: Pair | None = None, continues: bool = False
) -> Settings:
    """The defaults of Wan's authors, sampled as `scheduler/scheduler_config.json` says.

    Captions have 512 tokens.

    Args:
        directory: of the model.
        unit: pixels on a side of a token; sizes are multiples of it.
        pair: what model_index.json says of two experts and of given frames; None: of neither.
        continues: whether the transformer has channels for frames that are given.

    Raises:
        WeightsError: the scheduler is damaged or of an unknown kind, or cannot be followed.
    """
    file = directory / "scheduler" / "scheduler_config.json"
    chosen: dict[str, Any] = {"solver": "unipc", "grid": "diffusers-unipc", "shift": 5.0}
    if file.is_file():
        chosen = read_scheduler(file)
    published, pair = dict(_WAN), pair or Pair()
    if pair.given_frames:
        published |= _TI2V
    if pair.boundary is not None:
        published |= _A14B | (_I2V_PAIR if continues else _T2V_PAIR) | {"boundary": pair.boundary}
    try:
        return Settings(size_multiple=unit, text_length=512, tag_length=16, **published | chosen)
    except ConfigError as error:
        raise WeightsError(f"{file}: {error}") from error
