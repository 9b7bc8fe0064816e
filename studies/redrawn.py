"""A start that has no place for references: queries and keys of self-attention are drawn afresh.

    python -m studies.redrawn --model sprites/pictures --out runs/rrope/start

Rotary gains turn queries and keys of self-attention and nothing else, so these alone know where
other tokens lie. Drawn from a seed, with biases of zero, they attend to all places alike. Whatever
else the model knows stays: patches, values, cross-attention, feed-forward layers and words.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from alchemint_jax import arguments, media, weights
from alchemint_jax.errors import AlchemintError, WeightsError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.weights.store import write_tensors
from alchemint_jax.weights.tensors import Tensor, in_memory

PLACED = "self_attn.q", "self_attn.k", "self_attn.norm_q", "self_attn.norm_k"


def redraw(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The tensors of a transformer, with other queries and keys in self-attention.

    Kernels [..., in, out] are uniform, of variance 2 / (in + out) (Glorot's, as our layers begin),
    biases are 0, and scales of norms 1.

    Args:
        tensors: by dotted path.
        seed: of what is drawn.

    Raises:
        WeightsError: there is no such self-attention.
    """
    rng = np.random.default_rng(seed)
    found = dict(tensors)
    placed = sorted(name for name in found if any(f".{part}" in name for part in PLACED))
    if not placed:
        raise WeightsError("has no self-attention whose queries and keys could be drawn")
    for name in placed:
        shape = found[name].shape
        value = np.full(shape, "norm_" in name, np.float32)
        if name.endswith("kernel"):
            bound = np.sqrt(6 / (shape[-2] + shape[-1]))
            value = rng.uniform(-bound, bound, shape).astype(np.float32)
        found[name] = in_memory(value)
    return found


def write(model: str, seed: int, out: Path) -> None:
    """Writes transformer and text encoder of a model, the transformer redrawn.

    Raises:
        WeightsError: there is no such model, or it is no transformer of ours.
    """
    where = weights.locate(model)
    network, tensors = weights.open_component(where, "transformer")
    try:
        tensors = redraw(tensors, seed)
    except WeightsError as error:
        raise WeightsError(f"{model}: {error}") from error
    encoder, texts = weights.open_component(where, "text_encoder")
    write_tensors(out / "transformer", "transformer", network.config, tensors)  # type: ignore[attr-defined]
    write_tensors(out / "text_encoder", "text_encoder", encoder.config, texts)  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Forget where tokens lie, and nothing else.")
    parser.add_argument("--model", default="sprites/pictures")
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of what is drawn")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args(argv)
    try:
        media.check_folder(args.out)
        check_outputs([("--out", args.out)], [("--model", weights.locate(args.model))])
        write(args.model, args.seed, args.out)
    except AlchemintError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
