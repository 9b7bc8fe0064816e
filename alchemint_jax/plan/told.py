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


def shapes(events: int, batch: int, length: int, place: Any) -> Told:
    """So many events of one interval each, in captions of so many tokens."""
    words: Any = jax.ShapeDtypeStruct((batch, events, length), jnp.bool, sharding=place)
    intervals: Any = jax.ShapeDtypeStruct((batch, events, 1, 2), jnp.float32, sharding=place)
    return Told(words, intervals)


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
