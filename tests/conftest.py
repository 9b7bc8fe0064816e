"""What every test runs under: eight devices, no silent broadcasting, warnings as errors.

Sharded code is tested on eight CPU devices wherever the tests run, so a missing axis or a wrong
partition fails on a laptop. JAX_PLATFORMS chooses another backend.
"""

from __future__ import annotations

import os
from pathlib import Path

import jax
import pytest
from absl import flags
from pool_encoder import CLIPS, VALIDATION, PoolEncoder

os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # tests compile for TPUs side by side
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)  # takes effect because no backend has started yet
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config: pytest.Config) -> None:
    flags.FLAGS.mark_as_parsed()  # Grain reads absl flags, which nobody parses under pytest


@pytest.fixture(scope="session")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from alchemint_jax.worlds.sprites import write_sprites

    return write_sprites(tmp_path_factory.mktemp("sprites") / "set", CLIPS, 5, VALIDATION)


@pytest.fixture(scope="session")
def encoded(sprites: Path) -> Path:
    from alchemint_jax.data.encode import encode_with

    return encode_with(PoolEncoder(), "pool", sprites, sprites.parent / "encoded", batch=4, shard=8)
