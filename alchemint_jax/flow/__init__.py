"""Rectified flow: the path from data to noise, its velocity, and how its times are sampled."""

from alchemint_jax.flow.path import data_from_velocity, interpolate, velocity
from alchemint_jax.flow.times import sample_times, shift_time, time_grid

__all__ = [
    "data_from_velocity",
    "interpolate",
    "sample_times",
    "shift_time",
    "time_grid",
    "velocity",
]
