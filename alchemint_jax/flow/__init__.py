"""Rectified flow: the path from data to noise, its velocity, its times, and grids for solvers."""

from alchemint_jax.flow.grids import FINALS, GRIDS, Grid, make_grid
from alchemint_jax.flow.path import data_from_velocity, interpolate, velocity
from alchemint_jax.flow.times import sample_times, shift_time, time_grid

__all__ = [
    "FINALS",
    "GRIDS",
    "Grid",
    "data_from_velocity",
    "interpolate",
    "make_grid",
    "sample_times",
    "shift_time",
    "time_grid",
    "velocity",
]
