"""The LoRAs that a caller asks for: each of them once, with a strength."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.weights.lora.loading import Lora, Shapes, load_lora

Loras = Sequence[tuple[Lora, float]]
"""LoRAs, and how strongly each counts (1: as trained)."""
Given = (
    Mapping[str | os.PathLike[str], float | int]
    | Sequence[tuple[str | os.PathLike[str], float | int]]
)


def load_loras(given: Given, config: DiTConfig, shapes: Shapes) -> Loras:
    """Reads LoRAs by file or folder.

    Args:
        given: a mapping of files to strengths, or pairs.
        config: of the transformer they are for.
        shapes: of that transformer's parameters, by path.

    Raises:
        ConfigError: a strength is not a finite number, or one LoRA is named twice, be it in another
            spelling or by a link.
        WeightsError: see `load_lora`.
    """
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise ConfigError("loras are files with their strengths: {file: 1.0}, or [(file, 1.0)]")
    strengths = [_strength(path, strength) for path, strength in pairs]
    loras: list[tuple[Lora, float]] = []
    seen: dict[tuple[int, int], tuple[str, float]] = {}
    for (path, _), strength in zip(pairs, strengths, strict=True):
        lora = load_lora(path, config, shapes)
        status = os.stat(lora.file)
        file = (status.st_dev, status.st_ino)
        if file in seen:
            first, before = seen[file]
            name = "" if str(path) == first else f" (the second time as {path})"
            raise ConfigError(
                f"the LoRA {first} is named twice{name}: name it once, with the strength that you "
                f"want; both together are {before + strength:g}"
            )
        seen[file] = (str(path), strength)
        loras.append((lora, strength))
    return loras


def _strength(path: object, strength: object) -> float:
    try:
        value = float(strength)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"the strength of LoRA {path} is {strength!r}; use a finite number")
    return value
