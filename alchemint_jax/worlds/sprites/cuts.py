"""Cuts of the sprites world: another background, and subjects on the other side of their places.

Nobody comes or goes by a cut, so that when subjects are on screen is told by references alone, and
shots differ by what no caption says. A shot begins with a latent frame: an autoencoder that joins
four frames would blur a cut inside of them.
"""

from __future__ import annotations

import numpy as np

from alchemint_jax.scene.clock import Clock

SHORTEST = 2
"""Latent frames of a shot, at the least."""
_ODDS = (0.5, 0.35, 0.15)  # of no cut, one, two


def starts(clock: Clock) -> list[int]:
    """The pixel frames that may begin another shot of a clip."""
    latents = range(SHORTEST + 1, clock.latent_frames - SHORTEST + 1)
    return [int(clock.held([[i, i]])[0, 0]) for i in latents]


def draw_cuts(rng: np.random.Generator, clock: Clock) -> tuple[int, ...]:
    """Up to two cuts of a clip, in ascending order.

    Args:
        rng: what to draw from.
        clock: of the clip.
    """
    free = np.array(starts(clock), int)
    found: list[int] = []
    for _ in range(int(rng.choice(len(_ODDS), p=_ODDS))):
        if len(free):
            found.append(int(rng.choice(free)))
            between = [abs(clock.latent_frame(at) - clock.latent_frame(found[-1])) for at in free]
            free = free[np.array(between) >= SHORTEST]
    return tuple(sorted(found))
