"""Plans of a pair of experts, one of which makes a step while the other one waits in memory."""

from __future__ import annotations

import dataclasses
from typing import Any

from alchemint_jax.plan.estimate import Plan
from alchemint_jax.sharding import shard_bytes

SECOND = "second expert"
"""The kind of memory that the weights of the one that waits are."""


def with_second_expert(plan: Plan, weights: Any) -> Plan:
    """The plan of a step of one expert, beside another one of the same size.

    Sampling places both before its first step, so that none waits for weights: whichever makes a
    step, the other one takes as much memory, and no time.

    Args:
        plan: of the step.
        weights: of the expert that makes it, a tree of sharded shapes.
    """
    size = shard_bytes(weights)
    peak = plan.peak + size
    return dataclasses.replace(
        plan,
        what={**plan.what, "experts": 2},
        memory={**plan.memory, SECOND: size},
        peak=peak,
        fits=plan.fits and peak <= plan.available,
    )
