"""What every test runs under: eight devices, no silent broadcasting, warnings as errors.

Sharded code is tested on eight CPU devices wherever the tests run, so a missing axis or a wrong
partition fails on a laptop. JAX_PLATFORMS chooses another backend.
"""

from __future__ import annotations

import os

import jax
import pytest
from absl import flags

os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # tests compile for TPUs side by side
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)  # takes effect because no backend has started yet
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config: pytest.Config) -> None:
    flags.FLAGS.mark_as_parsed()  # Grain reads absl flags, which nobody parses under pytest
