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
from alchemint_jax.weights.tensors import Box, Piece, Row, Stacked, Tensor, within

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
        return _Changed(path, plain, by_row[None])
    return Stacked(
        [_Changed(path, Row(plain, i), by_row.get(i, [])) for i in range(plain.shape[0])]
    )


class _Changed(Tensor):
    """A parameter, or a row of one, of which any box is read with the same box of the changes."""

    def __init__(self, path: str, plain: Tensor, told: list[_Told]) -> None:
        super().__init__(plain.shape, "F32", plain.shape, plain.order)
        self.path, self.plain, self.told = path, plain, told

    def load(self, box: Box) -> np.ndarray:
        held = self._held(box)
        weight = self.plain.read(held)
        return _sum(self.path, weight, held, self.shape, self.told)[within(box, held)]

    def pieces(self, box: Box) -> list[Piece]:
        held = self._held(box)
        added = [piece for *_, change in self.told for piece in change.pieces(held, self.shape)]
        return self.plain.pieces_of(held) + added

    def _held(self, box: Box) -> Box:
        return self.whole if any(change.needs_whole for *_, change in self.told) else box


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
