"""Training one of a pair of experts (Wan2.2's A14B), while the other one waits as it is.

Each of them makes the steps on its side of a boundary in time, and is trained at these times alone.
What is sampled and exported is the pair, since neither is a model by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from alchemint_jax.errors import ConfigError
from alchemint_jax.weights.index import EXPERTS
from alchemint_jax.weights.store import read_params
from alchemint_jax.weights.tensors import Tensor

PARTS = {"high": "transformer", "low": EXPERTS}
"""The component that each expert is, by the noise of the steps that it makes."""
_SILENT = "event_attn.o."  # through which alone a fresh branch of events is heard


def check_expert(expert: str | None, boundary: float | None) -> None:
    """Raises ConfigError unless an expert is named as they are called, and says when it works."""
    if expert is None:
        return
    if expert not in PARTS:
        raise ConfigError(f"expert is {expert!r}; use one of {', '.join(PARTS)}")
    if boundary is None:
        raise ConfigError(
            "expert is set, but not sampling.boundary, which says when one expert hands over to "
            "the other (0.875 for Wan2.2's T2V-A14B)"
        )


def span_of(expert: str | None, boundary: float | None) -> tuple[float, float]:
    """The times that an expert is asked about; all of them where there is one transformer."""
    if expert is None or boundary is None:
        return 0.0, 1.0
    return (boundary, 1.0) if expert == "high" else (0.0, boundary)


def other(expert: str) -> str:
    """The expert that waits."""
    return "low" if expert == "high" else "high"


def waiting(found: Mapping[str, Tensor], trained: Mapping[str, Any]) -> dict:
    """The parameters of the expert that waits, placed as those of the one that is trained.

    Both are one network, and so what training adds to one is added to the other, too. The other has
    it as it was at first: nothing of it is heard before that expert is trained as well.

    Args:
        found: its tensors, as `initial_tensors` gives them.
        trained: parameters of the trained one's backbone and additions, a nested dict.
    """
    flat = flatten_dict(trained, sep=".")
    there = {path: found[name] for path in flat if (name := f"transformer.{path}") in found}
    shapes = {path: _shape(flat[path]) for path in there}
    read = flatten_dict(read_params(there, unflatten_dict(shapes, sep=".")), sep=".")
    for path, own in flat.items():
        if path not in there:
            read[path] = own * 0 if _SILENT in path else own
        elif isinstance(own, np.ndarray):
            read[path] = np.asarray(read[path])
    return unflatten_dict(read, sep=".")


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    """Of an array, with its sharding if it is on devices."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))
