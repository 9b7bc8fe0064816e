"""What a LoRA, or one of its relatives, does to one weight, as functions on NumPy arrays.

Weights are as torch has them, `[out, in]`, or `[out, in, ...]` of a convolution, which counts as
the matrix `[out, in * ...]`. All is float32.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from alchemint_jax.weights.layouts.moves import Entry
from alchemint_jax.weights.tensors import Box, Piece, Tensor, extent, whole, within

LORA = ("a", "b")
LOHA = ("h1_a", "h1_b", "h2_a", "h2_b")
LOKR = ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b")
DIFF = ("diff",)
KINDS = {"LoRA": LORA, "LoHa": LOHA, "LoKr": LOKR, "full difference": DIFF}
"""Kinds of change of one weight, and the tensors of each."""


@dataclasses.dataclass(frozen=True)
class Change:
    """What one file adds to one parameter (or to one row of a stacked one).

    Attributes:
        entry: the foreign name and shape that the factors are for, and our parameter.
        factors: tensors by the names in one of `KINDS`.
        scale: what the product of the factors counts.
        magnitude: of DoRA: the norms that the rows (or columns) of the weight are to have.
    """

    entry: Entry
    factors: Mapping[str, Tensor]
    scale: float = 1.0
    magnitude: Tensor | None = None

    @property
    def needs_whole(self) -> bool:
        """Whether the difference anywhere depends on the weight everywhere."""
        return self.magnitude is not None

    def difference(self, weight: np.ndarray, box: Box, shape: tuple[int, ...]) -> np.ndarray:
        """What is added to a box of our parameter, or of the row of it, at strength 1.

        Args:
            weight: our parameter in that box.
            box: all of it where `needs_whole`.
            shape: of all of our parameter, or of the row.
        """
        move = self.entry.move
        foreign = move.shape(shape)
        outer, inner = move.source(box, foreign)
        held, boxes = self._needed(outer, foreign)
        arrays = {name: read(self.factors[name], part) for name, part in boxes.items()}
        found = self.scale * product(arrays, extent(held))
        if self.magnitude is not None:
            theirs = move.write(weight)
            found = rescaled(theirs + found, read(self.magnitude)) - theirs
        return move.read(found[within(outer, held)])[within(inner, whole(extent(inner)))]

    def pieces(self, box: Box, shape: tuple[int, ...]) -> list[Piece]:
        """What `difference` reads of files."""
        foreign = self.entry.move.shape(shape)
        _, boxes = self._needed(self.entry.move.source(box, foreign)[0], foreign)
        needed = [(self.factors[name], part) for name, part in boxes.items()]
        needed += [(self.magnitude, self.magnitude.whole)] if self.magnitude else []
        return [piece for tensor, part in needed for piece in tensor.pieces_of(part)]

    def _needed(self, box: Box, foreign: tuple[int, ...]) -> tuple[Box, dict[str, Box]]:
        """Boxes of the factors whose product covers a foreign box, and which box it covers."""
        if "diff" in self.factors:
            return box, {"diff": box}
        if "a" not in self.factors:  # the others have no rows and columns of their own
            return whole(foreign), {name: tensor.whole for name, tensor in self.factors.items()}
        a, b = (self.factors[name].whole for name in "ab")
        rows, *others = box
        held = (rows, *whole(foreign[1:]))
        if len(a) == len(box) == 2:
            held, a = box, (a[0], *others)
        return held, {"a": a, "b": (rows, *b[1:])}


def read(tensor: Tensor, box: Box | None = None) -> np.ndarray:
    """A box of a tensor, by default all, as float32; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(tensor.read(box), np.float32)


def product(factors: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The change that factors make of a weight of this shape, before it is scaled."""
    if "diff" in factors:
        return factors["diff"]
    if "a" in factors:
        found = _matrix(factors["b"]) @ _matrix(factors["a"])
    elif "h1_a" in factors:
        found = (factors["h1_a"] @ factors["h1_b"]) * (factors["h2_a"] @ factors["h2_b"])
    else:
        found = np.kron(_kronecker_factor(factors, "w1"), _kronecker_factor(factors, "w2"))
    return found.reshape(shape)


def _kronecker_factor(factors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return factors[name] if name in factors else factors[f"{name}_a"] @ factors[f"{name}_b"]


def _matrix(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0], -1)


def rescaled(weight: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """DoRA (Liu et al. 2024): the direction of each row, with the norm that was learnt.

    Args:
        weight: `[out, in, ...]`, the change added.
        magnitude: `[out]` or `[out, 1, ...]`; or `[1, in]`, as some tools norm the columns instead.
    """
    matrix = _matrix(weight)
    columns = by_columns(magnitude.shape, weight.shape)
    norms = np.linalg.norm(matrix, axis=0 if columns else 1, keepdims=True)
    wanted = magnitude.reshape(norms.shape)
    # A row of zeros has no direction and stays zero.
    factors = np.divide(wanted, norms, out=np.zeros_like(norms), where=norms > 0)
    return (matrix * factors).reshape(weight.shape)


def by_columns(magnitude: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether a magnitude of this shape is for the columns of a weight, not its rows."""
    return len(magnitude) == len(weight) and magnitude[0] == 1 and weight[0] != 1


def rank(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """The inner width that alpha is divided by; None where no factor has one.

    Of LoKr both matrices may be whole, and then alpha means nothing (LyCORIS; the second counts
    where both have one).
    """
    for name in ("a", "h1_b", "w2_b", "w1_b"):
        if name in shapes:
            return shapes[name][0]
    return None


def misfit(shapes: Mapping[str, tuple[int, ...]], wanted: tuple[int, ...]) -> str:
    """Why factors of these shapes make no change of a weight of the `wanted` shape; "" if they do.

    Args:
        shapes: of tensors of one of `KINDS`, and of "magnitude" where there is one.
        wanted: the weight, as torch has it.
    """
    given = " and ".join(str(list(shape)) for shape in shapes.values())
    is_a = f"the layer is {list(wanted)}"
    if empty := [name for name, shape in shapes.items() if 0 in shape]:
        zero = "rank 0" if set(empty) & {*LORA, *LOHA} else "nothing in it"
        return f"has {zero} ({given})"
    out, wide = wanted[0], math.prod(wanted[1:])
    if "diff" in shapes:
        if shapes["diff"] != wanted:
            return f"{list(shapes['diff'])}, {is_a}"
    elif len(wanted) < 2:
        return f"{given}, but there is a vector {list(wanted)}"
    elif "a" in shapes or "b" in shapes:
        if not {"a", "b"} <= shapes.keys():
            there, other = ("A", "B") if "a" in shapes else ("B", "A")
            return f"only one of two matrices is there: lora_{there} without lora_{other}"
        a, b = shapes["a"], shapes["b"]
        inner = len(a) in (2, len(wanted)) and a[1:] in (wanted[1:], (wide,))
        outer = len(b) >= 2 and b[0] == out and b[1] == a[0] and math.prod(b[2:]) == 1
        if not (inner and outer):
            return f"{list(a)} and {list(b)}, {is_a}"
    elif any(name in shapes for name in LOHA):
        if missing := [name for name in LOHA if name not in shapes]:
            return f"{len(missing)} of the four matrices of LoHa are missing"
        pairs = [(shapes[f"h{i}_a"], shapes[f"h{i}_b"]) for i in (1, 2)]
        if any(_product_shape(a, b) != (out, wide) for a, b in pairs):
            return f"{given}, {is_a}"
    else:
        first, second = (_factor_shape(shapes, name) for name in ("w1", "w2"))
        if first is None or second is None:
            return f"one of the two factors of LoKr is missing or has no place ({given})"
        if (first[0] * second[0], first[1] * second[1]) != (out, wide):
            return f"{list(first)} times {list(second)}, {is_a}"
    size = shapes.get("magnitude")
    if size is None or size in ((out,), (out, *[1] * (len(wanted) - 1))):
        return ""
    if by_columns(size, wanted) and size == (1, *wanted[1:]):
        return ""
    return f"the magnitudes of DoRA are {list(size)}, {is_a}"


def _product_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    return (a[0], b[1]) if len(a) == len(b) == 2 and a[1] == b[0] else None


def _factor_shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, ...] | None:
    parts = shapes.get(name), shapes.get(f"{name}_a"), shapes.get(f"{name}_b")
    match parts:
        case (whole, None, None) if whole is not None and len(whole) == 2:
            return whole
        case (None, a, b) if a is not None and b is not None:
            return _product_shape(a, b)
    return None
