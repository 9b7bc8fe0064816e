"""Which renders are the same: a key of everything that decides what a clip looks like.

Two renders of one key have equal conditions, noise and steps, by the same weights on the same
device. Boards whose bars differ by less than half a frame have one key, and so has a copy of a
board. The clip of the first is then that of the second, bit for bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.asking import Ask


def scheme_of(model: Any, ask: Ask) -> str:
    """The name of the interval scheme that a render has: the model's own where none is asked for.

    Raises:
        Refused: another one is asked for, and the model takes no subjects that it could time.
    """
    config = model.models.dit.config
    own = type(config.scheme).__name__
    if ask.scheme in (None, own):
        return own
    if not config.slots:
        raise Refused(f"scheme: this model takes no subjects with pictures; leave it at {own}")
    return str(ask.scheme)


def key_of(identity: str, model: Any, board: Storyboard, ask: Ask) -> str:
    """The key of a render.

    Args:
        identity: of weights, program and device, see `rendering.identity`.
        model: a pipeline, with or without its weights.
        board: whose pictures have names that tell what they show, as those of a workspace have.
        ask: what for.

    Raises:
        AlchemintError: it is nothing that this model can render.
    """
    scene = model.scene(board)
    plan = model.settings.plan(ask.steps, ask.guidance, ask.solver)
    said = (
        identity,
        plan if plan is None else dataclasses.astuple(plan),
        (ask.seed, ask.gating or None, scheme_of(model, ask)),
        (board.prompt, board.negative_prompt, board.duration),
        (scene.clock.fps, scene.clock.frames, scene.size),
        [(one.word, one.spans, _names(one.pictures)) for one in scene.subjects],
        [(one.text, one.spans) for one in scene.events],
        (scene.given_at, _names(scene.keyframes)),
        *([scene.cuts] if scene.cuts else ()),
    )
    return hashlib.sha256(repr(_plain(said)).encode()).hexdigest()[:32]


def _names(pictures: Iterable[Any]) -> list[str]:
    return [path.name for path in pictures]


def _plain(value: Any) -> Any:
    """With lists for what is like them, and floats for numbers: 3 and 3.0 are the same."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, (int, float)) else value
