"""What the kernels of attention cost in a traced step, beside a video alone.

References are further tokens that all others attend to, and gating adds channels to queries and
keys: this says how much of each is in a program.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.plan.flops import Sequence, dit_flops, traced_flops


@dataclasses.dataclass(frozen=True)
class AttentionCost:
    """Of the forward passes of one step.

    Attributes:
        flops: operations of the kernels.
        pair: the same for each pair of a query and a key, over what attention without any more
            channels, and without padding, needs for one.
        token: the same for each token, over what it needs for one of the video without references.
    """

    flops: float
    pair: float
    token: float

    def as_dict(self, flops_per_second: float) -> dict[str, float]:
        """In JSON's types, with the least time."""
        return {
            "flops": self.flops,
            "seconds": float(f"{self.flops / flops_per_second:.4g}"),
            "per_pair": round(self.pair, 4),
            "per_token": round(self.token, 4),
        }


def attention_cost(
    jaxpr: Any, model: DiTConfig, tokens: Sequence, passes: int
) -> AttentionCost | None:
    """Counts the kernels' operations; None where no kernel attends.

    Args:
        jaxpr: of the traced step, see `traced_flops`.
        model: sizes of the transformer.
        tokens: of one sample.
        passes: samples of the step, those of all branches of guidance.
    """
    flops = traced_flops(jaxpr, kernels=True)
    if not flops:
        return None
    alone = dataclasses.replace(tokens, references=0, tags=0)
    needed, least = (passes * dit_flops(model, one).attention for one in (tokens, alone))
    return AttentionCost(flops, flops / needed, (flops / tokens.total) / (least / alone.total))
