"""Cuts of the sprites world: another background, and subjects on the other side of their places.

Nobody comes or goes by a cut, so that when subjects are on screen is told by references alone, and
shots differ by what no caption says. A shot begins with a latent frame: an autoencoder that joins
four frames would blur a cut inside of them.
"""

from __future__ import annotations

import numpy as np

from alchemint_jax.scene.clock import WAN_STRIDE

SHORTEST = 2 * WAN_STRIDE
"""Frames of a shot, at the least."""
_ODDS = (0.5, 0.35, 0.15)  # of no cut, one, two


def draw_cuts(rng: np.random.Generator, frames: int) -> tuple[int, ...]:
    """Up to two cuts of a clip, in ascending order.

    Args:
        rng: what to draw from.
        frames: of the clip.
    """
    free = np.arange(SHORTEST + 1, frames - SHORTEST + 1, WAN_STRIDE)
    found: list[int] = []
    for _ in range(int(rng.choice(len(_ODDS), p=_ODDS))):
        if len(free):
            found.append(int(rng.choice(free)))
            free = free[np.abs(free - found[-1]) >= SHORTEST]
    return tuple(sorted(found))
