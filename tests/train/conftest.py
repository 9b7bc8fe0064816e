from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def steps_compiled_once() -> Iterator[None]:
    """Runs of one task, optimizer and mesh share their step, as if they were in one run."""
    from alchemint_jax.train import loop

    kept: dict[Any, Any] = {}

    def once(make: Any) -> Any:
        def step(plan: Any, *config: Any) -> Any:
            key = (make, plan.task, plan.mesh, *config)
            if key not in kept:
                kept[key] = make(plan, *config)
            return kept[key]

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in ("jit_train_step", "jit_validation_step"):
            patch.setattr(loop, name, once(getattr(loop, name)))
        yield
