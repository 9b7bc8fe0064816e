"""A board before its pictures are files: what every way to make one ends in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.scene.spans import Spans

Real = float | int
Picture = UInt8[np.ndarray, "_ _ _"] | Path
"""Pixels, RGB or RGBA, or a file that is copied as it is."""


@dataclass(frozen=True, eq=False)
class Role:
    """A subject of a draft.

    Attributes:
        word: what the prompt calls it.
        appears: when it is on screen, in seconds.
        picture: of it, if there is one.
        looks: what it looks like, for those who have to find a picture.
    """

    word: str
    appears: Spans
    picture: Picture | None = None
    looks: str = ""


@dataclass(frozen=True, eq=False)
class Draft:
    """A board that is to be written.

    Attributes:
        id: its name.
        prompt: the caption of the whole video.
        duration: seconds.
        roles: its subjects.
        events: texts, and the seconds that each of them is about.
        fps: frames per second; None leaves them to the model.
        size: height and width in pixels; None leaves them to the model.
        first_frame, last_frame: pictures that the video begins and ends with.
    """

    id: str
    prompt: str
    duration: Real
    roles: tuple[Role, ...] = ()
    events: tuple[tuple[str, tuple[Real, Real]], ...] = ()
    fps: Real | None = None
    size: tuple[int, int] | None = None
    first_frame: Picture | None = None
    last_frame: Picture | None = None

    def line(self, place: Callable[[Picture, str], str] | None = None) -> dict[str, Any]:
        """The board as a line of a file.

        Args:
            place: says where a picture of some name lies; None leaves pictures out.
        """
        line: dict[str, Any] = {"id": self.id, "prompt": self.prompt, "duration": self.duration}
        line["subjects"] = []
        for role in self.roles:
            line["subjects"].append({"word": role.word})
            if place is not None and role.picture is not None:
                line["subjects"][-1]["image"] = place(role.picture, role.word)
            line["subjects"][-1]["appears"] = [list(span) for span in role.appears]
        if self.events:
            line["events"] = [{"text": text, "during": list(span)} for text, span in self.events]
        if self.fps is not None:
            line["fps"] = self.fps
        if self.size is not None:
            line["size"] = list(self.size)
        for name in ("first_frame", "last_frame"):
            picture = getattr(self, name)
            if place is not None and picture is not None:
                line[name] = place(picture, name)
        return line
