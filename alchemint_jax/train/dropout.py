"""What a sample is conditioned on is taken away now and then, so that guidance has its branches."""

from __future__ import annotations

import dataclasses

import jax

from alchemint_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Dropout:
    """How often a sample loses its pictures (and word tags), its texts, or both.

    Its texts are its caption and those of its events. Intervals always stay.
    """

    pictures: float = 0.1
    text: float = 0.1
    both: float = 0.05

    def __post_init__(self) -> None:
        shares = dataclasses.astuple(self)
        if min(shares) < 0 or sum(shares) > 1:
            raise ConfigError(f"dropout: {shares} must not be negative nor add up to more than 1")


def keep(key: jax.Array, batch: int, dropout: Dropout) -> tuple[jax.Array, jax.Array]:
    """Which samples keep their caption, and which their pictures: two bool [b]."""
    u = jax.random.uniform(key, (batch,))
    no_images = u < dropout.pictures + dropout.both
    no_text = (u >= dropout.pictures) & (u < dropout.pictures + dropout.both + dropout.text)
    return ~no_text, ~no_images
