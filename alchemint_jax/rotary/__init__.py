"""Positional encodings as tables of complex gains: pure JAX functions on arrays, without Flax.

freqs = axis_frequencies(head_dim=128)
gains = WeRope().gains(intervals, n_frames=21, freqs=freqs)     # [..., d/2]
profile = kernel(gains, 21, freqs)                              # attention over latent frames
q_gains, k_gains = sequence_gains(freqs, (21, 30, 52), intervals, WeRope())
q = apply_gains(q, q_gains)
"""

from alchemint_jax.rotary.apply import apply_gains
from alchemint_jax.rotary.axes import (
    Frequencies,
    axis_frequencies,
    grid_gains,
    kernel,
    rotation,
)
from alchemint_jax.rotary.fitted import FittedRope, coverage
from alchemint_jax.rotary.rerope import (
    rerope_cut_gains,
    rerope_key_gains,
    rerope_query_gains,
    rerope_times,
)
from alchemint_jax.rotary.retro import retro_gains, retro_scales
from alchemint_jax.rotary.schemes import MidRope, NoInterval, Scheme, SincRope, WeRope
from alchemint_jax.rotary.sequence import ReferenceLayout, sequence_gains, video_gains

SCHEMES = {cls.__name__: cls for cls in (WeRope, MidRope, SincRope, FittedRope, NoInterval)}
"""The schemes that a config can name; the first one is the default."""

__all__ = [
    "SCHEMES",
    "FittedRope",
    "Frequencies",
    "MidRope",
    "NoInterval",
    "ReferenceLayout",
    "Scheme",
    "SincRope",
    "WeRope",
    "apply_gains",
    "axis_frequencies",
    "coverage",
    "grid_gains",
    "kernel",
    "rerope_cut_gains",
    "rerope_key_gains",
    "rerope_query_gains",
    "rerope_times",
    "retro_gains",
    "retro_scales",
    "rotation",
    "sequence_gains",
    "video_gains",
]
