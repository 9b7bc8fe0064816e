"""Events that a control tells in the caption, as shapes in place of arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Told
from alchemint_jax.sampling.control import Relay, Together, TSAttn

EVENTS = 2
"""Of a clip, where nobody says how many."""


def tells(control: Any) -> bool:
    """Whether one of its parts is a relay or TS-Attn."""
    return any(isinstance(one, Relay | TSAttn) for one in _parts(control))


def check(control: Any, branch: bool) -> None:
    """Refuses what `Pipeline.load` does.

    Raises:
        ConfigError: the model has an event branch, which is told of events.
    """
    if branch and tells(control):
        raise ConfigError(
            "model.events is True: its branch is told of events; --relay and --ts-attn are for "
            "models without"
        )


def shapes(control: Any, events: int, batch: int, length: int, place: Any) -> Told:
    """So many events of one interval each, in captions of so many tokens.

    For a relay frames without any event count as one more.
    """

    def timed(texts: int, padding: bool) -> Told:
        words: Any = jax.ShapeDtypeStruct((batch, texts, length), jnp.bool, sharding=place)
        intervals: Any = jax.ShapeDtypeStruct((batch, texts, 1, 2), jnp.float32, sharding=place)
        each: Any = jax.ShapeDtypeStruct((batch, texts), jnp.float32, sharding=place)
        return Told(words, intervals, each if padding else None)

    relay = next((one for one in _parts(control) if isinstance(one, Relay)), None)
    if relay is None:
        return timed(events, padding=False)
    found = timed(events + 1, padding=True)
    return found._replace(null=timed(2, padding=True)) if relay.contrast else found


def copies(control: Any) -> int:
    """How many times as long as one text there is room for, at the least: see `Prompts.copies`.

    A contrast leads away from two texts, and all passes have as much room.
    """
    return 2 if any(isinstance(one, Relay) and one.contrast for one in _parts(control)) else 1


def with_words(control: Any, words: int, batch: int, length: int, place: Any) -> Any:
    """The control, in which TS-Attn has so many words, one at the least."""
    tokens = jax.ShapeDtypeStruct((batch, max(1, words), length), jnp.bool, sharding=place)
    return Together.of(
        *(
            dataclasses.replace(one, tokens=tokens) if isinstance(one, TSAttn) else one
            for one in _parts(control)
        )
    )


def _parts(control: Any) -> tuple[Any, ...]:
    return control.controls if isinstance(control, Together) else (control,)
