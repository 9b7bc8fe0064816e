"""Control while sampling: what a step attends to, and where its latents are."""

from alchemint_jax.sampling.control.gating import Gating
from alchemint_jax.sampling.control.relay import Relay
from alchemint_jax.sampling.control.step import (
    Control,
    Moment,
    Steered,
    Together,
    advance_controlled,
    steer,
)

__all__ = [
    "Control",
    "Gating",
    "Moment",
    "Relay",
    "Steered",
    "Together",
    "advance_controlled",
    "steer",
]
