"""Who tells a model of the events of scenes, as the command line asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from alchemint_jax.errors import ConfigError
from alchemint_jax.sampling.control.relay import Relay
from alchemint_jax.sampling.control.ts_attn import TSAttn


def told_by(
    relay: float | int | bool | None,
    ts_attn: Sequence[str | bool] | None,
    contrast: bool | None = None,
) -> Relay | TSAttn | None:
    """Who tells events, as `--relay`, `--ts-attn` and `--contrast` ask for; None if nobody does.

    Raises:
        ConfigError: both are asked for, or a contrast without a relay.
    """
    if relay is not None and ts_attn is not None:
        raise ConfigError("--relay and --ts-attn: both time events in the prompt; give one of them")
    return Relay.of(relay, bool(contrast)) or TSAttn.of(ts_attn)
