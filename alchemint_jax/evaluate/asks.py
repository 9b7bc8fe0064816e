"""What is asked of any system: who is on screen when, in seconds, whatever it answers in."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.annotate.sources import contents
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.evaluate.cases import StoryboardFile
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans
from alchemint_jax.scene.storyboard import Storyboard

_SHORT = 0.25  # seconds by which a video may be shorter without lacking anything
_FPS = 24.0  # of videos that are missing, where the board does not say
_CHECKED = (64, 64)  # pixels at which references are checked


@dataclass(frozen=True, eq=False)
class Ask:
    """A case in seconds.

    Attributes:
        id: what its video is called.
        caption: of the clip.
        duration: in seconds.
        fps: that the board names; None leaves it to the system.
        subjects: whose `spans` are seconds.
        events: whose `spans` are seconds.
        source: what messages call it.
    """

    id: str
    caption: str
    duration: float
    fps: float | None
    subjects: tuple[Subject, ...]
    events: tuple[Event, ...] = ()
    source: str = ""

    @classmethod
    def of_board(cls, name: str, board: Storyboard) -> Ask:
        """What a storyboard asks for."""
        return cls(
            id=name,
            caption=board.prompt,
            duration=float(board.duration),
            fps=None if board.fps is None else float(board.fps),
            subjects=tuple(
                Subject(entry.word, entry.appears, () if entry.image is None else (entry.image,))
                for entry in board.subjects
            ),
            events=tuple(Event(entry.text, Spans([entry.during])) for entry in board.events),
            source=board.source,
        )

    @classmethod
    def of_scene(cls, scene: Scene) -> Ask:
        """What a case of a benchmark asks for."""

        def timed(one: Any) -> Any:
            return dataclasses.replace(one, spans=scene.clock.seconds(one.spans))

        return cls(
            id=scene.id,
            caption=scene.caption,
            duration=scene.clock.duration,
            fps=float(scene.clock.fps),
            subjects=tuple(timed(subject) for subject in scene.subjects),
            events=tuple(timed(event) for event in scene.events),
            source=scene.id,
        )

    def scene(self, fps: float | None = None, frames: int | None = None) -> Scene:
        """The case in the frames of a video of this rate and length.

        An end at the end of what was asked for is the end of the video, if that is longer; a video
        that is shorter by more than a quarter of a second lacks frames, and the scene has them.
        Without a video, the frames are those of the board.
        """
        fps = fps or self.fps or _FPS
        asked = Clock(fps, 1, WAN_STRIDE).count(self.duration) + 1
        clock = Clock(fps, asked if frames is None else frames, WAN_STRIDE)
        if clock.duration < self.duration - _SHORT:
            clock = Clock(fps, asked, WAN_STRIDE)

        def framed(one: Any) -> Any:
            return dataclasses.replace(one, spans=clock.spans(one.spans, self.duration))

        return Scene(
            id=self.id,
            caption=self.caption,
            clock=clock,
            subjects=tuple(framed(subject) for subject in self.subjects),
            events=tuple(framed(event) for event in self.events),
        )

    def content(self) -> list[Any]:
        """Everything that a score depends on, as plain values."""
        return [
            self.id,
            self.duration,
            self.fps,
            [
                [s.word, s.spans, [_content(picture) for picture in s.pictures]]
                for s in self.subjects
            ],
        ]


def _content(picture: Path | np.ndarray) -> str:
    if isinstance(picture, Path):
        return contents(picture)
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def read_asks(boards: StoryboardFile, limit: int | None = None) -> list[Ask]:
    """What the boards of a file ask for, in seconds, to score videos of any system by.

    Args:
        boards: the file.
        limit: how many of them, from the first; None is all of them.

    Returns:
        The boards, whose references the file's tracker can follow.

    Raises:
        DataError: naming the line of one that has no id, or a picture that cannot be used.

    Examples:
        >>> tracker = al.evaluate.perceived_tracker()
        >>> path = "benchmarks/everyday/boards.jsonl"
        >>> boards = al.evaluate.read_benchmark(path, tracker, limit=1)
        >>> (ask,) = al.evaluate.read_asks(boards)
        >>> ask.duration, len(ask.subjects)
        (5.0, 1)

    Source:
        This repository.
    """
    found = []
    for name, board in boards.boards[:limit]:
        if name == board.source:
            raise DataError(f'{name}: id: is missing; videos are named by it ("ID.mp4")')
        ask = Ask.of_board(name, board)
        check(ask.subjects, boards.tracker, board.source)
        found.append(ask)
    return found


def check(subjects: Sequence[Subject], tracker: Tracker, where: str) -> None:
    """Raises DataError naming the subject whose picture the tracker cannot follow."""
    for i, subject in enumerate(subjects):
        if len(subject.pictures) == 0:
            if getattr(tracker, "needs_pictures", True):
                raise DataError(
                    f"{where}: subjects[{i}].image: is missing, and {type(tracker).__name__} needs "
                    "one; --tracker perceived also finds subjects by their word"
                )
            continue
        try:
            tracker.check(subject.picture(_CHECKED))
        except (DataError, StoryboardError) as error:
            raise DataError(f"{where}: subjects[{i}].image: {error}") from error
