"""Adds LoRAs to a transformer's weights while these are read.

Every LoRA is computed for the weights of the model itself, and their differences are summed, so the
order does not matter; not even that of DoRA, whose difference depends on the weights. Sums are
float32, and are rounded once, to what the model is held in.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alchemint_jax.errors import WeightsError
from alchemint_jax.weights.lora.changes import Change
from alchemint_jax.weights.lora.chosen import Loras
from alchemint_jax.weights.tensors import Box, Piece, Tensor, row_of, stacked, within

_Told = tuple[str, float, Change]  # of which file, how strong


def merge(tensors: Mapping[str, Tensor], loras: Loras) -> dict[str, Tensor]:
    """A transformer's tensors with LoRAs in them; nothing is read yet.

    Args:
        tensors: by our paths, of `weights.open_component`.
        loras: of `load_loras`, for the same transformer.

    Raises:
        WeightsError: when they are read: a sum is not finite.
    """
    by_path: dict[str, dict[int | None, list[_Told]]] = {}
    for lora, strength in loras:
        for (path, row), change in lora.changes.items():
            rows = by_path.setdefault(path, {})
            rows.setdefault(row, []).append((str(lora.file), strength, change))
    merged = {path: _merged(path, tensors[path], rows) for path, rows in by_path.items()}
    return {path: merged.get(path, tensor) for path, tensor in tensors.items()}


def _merged(path: str, plain: Tensor, by_row: Mapping[int | None, list[_Told]]) -> Tensor:
    if None in by_row:
        return _changed(path, plain, by_row[None])
    rows = [_changed(path, row_of(plain, i), by_row.get(i, [])) for i in range(plain.shape[0])]
    return stacked(rows)


def _changed(path: str, plain: Tensor, told: list[_Told]) -> Tensor:
    """A parameter, or a row of one, of which any box is read with the same box of the changes."""

    def needed(box: Box) -> Box:
        return plain.whole if any(change.needs_whole for _, _, change in told) else box

    def load(box: Box) -> np.ndarray:
        held = needed(box)
        return _sum(path, plain.read(held), held, plain.shape, told)[within(box, held)]

    def pieces(box: Box) -> list[Piece]:
        held = needed(box)
        found = [piece for tile in plain.tiles(held) for piece in plain.pieces(tile)]
        return found + [piece for *_, change in told for piece in change.pieces(held, plain.shape)]

    return Tensor(plain.shape, "F32", load, plain.shape, pieces)


def _sum(
    path: str, weight: np.ndarray, box: Box, shape: tuple[int, ...], told: list[_Told]
) -> np.ndarray:
    weight = np.asarray(weight, np.float32)
    if not told:
        return weight
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        added = sum(
            np.float32(strength) * change.difference(weight, box, shape)
            for _, strength, change in told
        )
    if not np.isfinite(added).all():
        given = ", ".join(f"{file} at strength {strength:g}" for file, strength, _ in told)
        raise WeightsError(f"{given}: too strong, {path} would not be finite; lower the strength")
    return weight + added
