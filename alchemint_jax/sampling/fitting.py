"""What a model is asked to do beside rendering scenes, fitted to it: controls, and a step cache."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import cast

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import NoInterval
from alchemint_jax.sampling.conditions import prompts
from alchemint_jax.sampling.control import Control, Gating, Relay, TempoControl, Together, TSAttn
from alchemint_jax.sampling.guidance import Guide
from alchemint_jax.sampling.parts import Parts
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.step_cache import StepCache
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene


def fitted(parts: Parts, control: Control | None) -> Control | None:
    """The control, if it does something at all, and the relay.

    Raises:
        ConfigError: it is a gating that this model cannot have.
    """
    several = control.controls if isinstance(control, Together) else (control,)
    found = (fitted_gating(parts, one) if isinstance(one, Gating) else one for one in several)
    # TempoControl asks what is attended to under the biases of all others.
    last = sorted(found, key=lambda one: isinstance(one, TempoControl))
    return cast(Control | None, Together.of(parts.relay, *last))


def fitted_gating(parts: Parts, control: Gating) -> Gating | None:
    """The gating with the edge that suits how the model was trained; None if it has no strength.

    Raises:
        ConfigError: this model cannot have it.
    """
    if isinstance(parts.relay, Relay) and control.layers != (0, 1):
        raise ConfigError(
            f"Gating: layers = {control.layers}: a relay acts on all layers, and both together "
            "must act on the same ones"
        )
    stride = parts.models.vae.config.temporal_stride
    if control.stride != stride:
        raise ConfigError(f"Gating: stride = {control.stride}: the autoencoder's is {stride}")
    if not parts.limits.max_subjects:
        raise ConfigError("gating times subjects with pictures, and this model takes none")
    if control.edge is None and not isinstance(parts.models.dit.config.scheme, NoInterval):
        control = dataclasses.replace(control, edge=0)
    return control if control.strength else None


def told(
    parts: Parts, control: Control | None, scenes: Sequence[Scene], clock: Clock
) -> Control | None:
    """The control, whose words are found in the prompts of these scenes.

    Raises:
        StoryboardError, ConfigError: see `TempoControl.told` and `TSAttn.told`.
    """
    if isinstance(control, Together):
        return Together(tuple(told(parts, one, scenes, clock) for one in control.controls))
    if not isinstance(control, TempoControl | TSAttn):
        return control
    return control.told(prompts(parts, scenes, clock)[0], scenes, clock)


def cache_table(
    parts: Parts,
    cache: str | os.PathLike[str] | None,
    plan: Plan,
    size: tuple[int, int],
    frames: int,
    guide: Guide | None = None,
) -> StepCache | None:
    """The table of a step cache, as `Pipeline.render` takes one, for videos of this size.

    Raises:
        ConfigError: it is of something else, guidance is a function, whose passes no table knows,
            or the model has two experts.
    """
    tables = parts.cache
    if cache is not None:
        if parts.origin is None:
            raise ConfigError("a step cache is for models that were read from files")
        tables = parts.origin.tables(cache)
    if tables is None:
        return None
    if guide is not None:
        raise ConfigError(
            f"{tables.source}: a step cache goes with the weights of `Guidance`; the "
            "passes of a guidance that is a function are not known beforehand"
        )
    if parts.models.low is not None:
        raise ConfigError(
            f"{tables.source}: a step cache is for models of one transformer, and this one has "
            "two experts"
        )
    assert parts.origin is not None
    return tables.table(parts.origin.fingerprint(), plan, size, frames)
