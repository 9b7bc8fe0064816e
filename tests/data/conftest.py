from __future__ import annotations

from pathlib import Path

import pytest
from pool_encoder import CLIPS, VALIDATION, PoolEncoder

from alchemint_jax.data import sample_clip, write_sprites
from alchemint_jax.data.encode import encode_with


@pytest.fixture(scope="session")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sprites(tmp_path_factory.mktemp("sprites") / "set", CLIPS, 5, VALIDATION)


@pytest.fixture(scope="session")
def encoded(sprites: Path) -> Path:
    return encode_with(PoolEncoder(), "pool", sprites, sprites.parent / "encoded", batch=4, shard=8)


@pytest.fixture(scope="session")
def clips() -> list:
    return [sample_clip(i, seed=77) for i in range(240)]
