r"""Writes a distilled LoRA as a model that comes with the package: what it adds to another one.

    python -m studies.fast_weights --model runs/sprites_fast/export --strength 1.1 \
        --out runs/sprites_fast/bundle

`--out` then holds what alchemint_jax/bundled/sprites/fast does, but for its README: the settings of
the student, and the configuration and the LoRA of its transformer, in float16. A student that was
trained by mean squares is a little too smooth; a strength above 1, chosen on the boards that were
held out of training, gives back the edges.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alchemint_jax import media, weights
from alchemint_jax.errors import AlchemintError, WeightsError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.places import written
from alchemint_jax.sampling import settings
from alchemint_jax.weights import files
from alchemint_jax.weights.directories import LORA
from alchemint_jax.weights.tensors import in_memory

SOURCE = "lora_diffusers.safetensors"


def bundle(model: Path, out: Path, strength: float | int = 1.0) -> None:
    """Writes the parts of a trained student that its base model does not have.

    Args:
        model: the export of a student.
        out: the folder to write.
        strength: of the LoRA, which is made part of it.

    Raises:
        WeightsError: it was not trained as a LoRA.
    """
    if not (model / SOURCE).is_file():
        raise WeightsError(f"{model}: has no {SOURCE}; train it with `lora`")
    config = weights.read_config(model, "transformer")
    text = json.dumps(config, indent=2) + "\n"
    tensors = {
        name: in_memory(x.read() * np.float32(strength if name.endswith("lora_B.weight") else 1))
        for name, x in files.open_files([model / SOURCE]).items()
    }
    with written(out) as folder:
        others = {"config.json": text}
        files.write(folder / "transformer", Path(LORA).stem, tensors, others, dtype="F16")
        settings.save(folder, settings.load(model))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Write a distilled LoRA as a bundled model.")
    parser.add_argument("--model", type=Path, required=True, help="the export of a student")
    parser.add_argument("--strength", type=float, default=1.0, help="of its LoRA (1: as trained)")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args(argv)
    try:
        media.check_folder(args.out)
        check_outputs([("--out", args.out)], [("--model", args.model)])
        bundle(args.model, args.out, args.strength)
    except AlchemintError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
