"""Whether a draft is a storyboard that the model can render, in the words of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from alchemint_jax.scene.limits import Limits
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.storyboard import MAX_DURATION, MAX_FPS, Storyboard
from alchemint_jax.studio.drafts import Draft
from alchemint_jax.studio.rulers import rulers

SOURCE = "board"
_FIELD = re.compile(rf"{SOURCE}: ([\w.\[\]]+): (.*)", re.DOTALL)


@runtime_checkable
class Model(Protocol):
    """What is asked of a model: a `Pipeline`, with or without its weights."""

    @property
    def limits(self) -> Limits:
        """What it can render."""

    @property
    def fps(self) -> float:
        """Frames per second."""

    def scene(self, board: Storyboard) -> Scene:
        """What a storyboard asks it for; StoryboardError if it cannot."""


def storyboard(draft: Draft, pictures: Path, needed: bool = True) -> Storyboard:
    """The storyboard that a draft is; `needed` says whether subjects need pictures.

    Raises:
        StoryboardError: it is none yet; the message names the field.
    """
    return Storyboard.from_dict(draft, base=pictures, source=SOURCE, pictures=needed)


def check(draft: Draft, pictures: Path, model: Model | None, needed: bool = True) -> dict[str, Any]:
    """What the page says about a draft; `needed` says whether subjects need pictures.

    Returns:
        "problem", None or its "field" and "text"; "warnings"; and "rulers" (see `rulers`), None
        where the length makes no sense. Without a model, that is of the usual stride.
    """
    found: dict[str, Any] = {"problem": None, "warnings": [], "rulers": None}
    fps = draft.get("fps") or (model.fps if model else None)
    duration = draft["duration"]
    if fps and 0 < duration <= MAX_DURATION and 1 <= fps <= MAX_FPS:
        stride = model.limits.stride if model else WAN_STRIDE
        found["rulers"] = rulers(Clock.for_duration(duration, fps, stride), duration)
    try:
        board = storyboard(draft, pictures, needed)
        if model:
            model.scene(board)
        found["warnings"] = [one.removeprefix(f"{SOURCE}: ") for one in board.warnings()]
    except StoryboardError as error:
        match = _FIELD.fullmatch(str(error))
        field, text = match.groups() if match else ("", str(error))
        found["problem"] = {"field": field, "text": text.replace(f"{pictures}/", "")}
    return found
