from __future__ import annotations

import pytest

from alchemint_jax.worlds.sprites import sample_clip


@pytest.fixture(scope="session")
def clips() -> list:
    return [sample_clip(i, seed=77) for i in range(240)]
