"""Control while sampling: what a step attends to, and where its latents are."""

from alchemint_jax.sampling.control.gating import Gating
from alchemint_jax.sampling.control.inbetween import Inbetween
from alchemint_jax.sampling.control.relay import Relay
from alchemint_jax.sampling.control.step import (
    Control,
    Moment,
    Steered,
    Together,
    advance_controlled,
    steer,
)
from alchemint_jax.sampling.control.tempo import TempoControl
from alchemint_jax.sampling.control.ts_attn import TSAttn
from alchemint_jax.sampling.control.when import When

__all__ = [
    "Control",
    "Gating",
    "Inbetween",
    "Moment",
    "Relay",
    "Steered",
    "TSAttn",
    "TempoControl",
    "Together",
    "When",
    "advance_controlled",
    "steer",
]
