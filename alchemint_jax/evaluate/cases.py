"""What to ask a model for: cases, each one clip to render; benchmarks make them, and files of
storyboards are benchmarks.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import images
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.events import FrameEvent
from alchemint_jax.storyboard import Storyboard

if TYPE_CHECKING:
    from alchemint_jax.evaluate.tracker import Tracker

FrameIntervals = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One clip to ask a model for, and when each of its r subjects should be on screen."""

    id: str
    prompt: str
    words: tuple[str, ...]
    references: UInt8[np.ndarray, "r h w 3"]
    intervals: tuple[FrameIntervals, ...]
    """Per subject, pixel frames, half-open."""
    n_frames: int
    fps: float
    events: tuple[FrameEvent, ...] = ()
    """Texts, and the pixel frames that they are about; scores of subjects do not look at them."""
    size: tuple[int, int] | None = None
    """Height and width in pixels; None is the model's own."""


@runtime_checkable
class Benchmark(Protocol):
    """Cases, and who measures what a model makes of them. A world has one; so has a file."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def limit(self) -> int | None:
        """How many cases to take where nobody says; None is all of them."""

    @property
    def tracker(self) -> Tracker:
        """Who measures."""

    def cases(self, pipe: Any, limit: int | None, seed: int) -> list[Case]:
        """The first `limit` cases, all of one length.

        Args:
            pipe: the `Pipeline` that is to render them, which has limits and settings.
            limit: None is all of them.
            seed: what random cases are drawn from.

        Raises:
            DataError: one of them cannot be asked for, or not be measured.
        """


@dataclasses.dataclass(frozen=True)
class StoryboardFile:
    """The storyboards of a file as a benchmark."""

    name: str
    tracker: Tracker
    boards: tuple[tuple[str, Storyboard], ...]
    """With their ids."""
    limit: int | None = None

    def cases(self, pipe: Any, limit: int | None, seed: int) -> list[Case]:
        """See `Benchmark`; nothing is random here."""
        del seed
        return [self._case(name, board, pipe) for name, board in self.boards[:limit]]

    def _case(self, name: str, board: Storyboard, pipe: Any) -> Case:
        try:
            board = board.validate_for(pipe.limits)
        except StoryboardError as error:
            raise DataError(str(error)) from error
        assert board.fps is not None  # filled in by validate_for
        size = pipe.settings.reference_size or board.size or pipe.settings.size
        references = []
        for i, subject in enumerate(board.subjects):
            reference = images.load_reference(subject.image, size)
            try:
                self.tracker.check(reference)
            except DataError as error:
                where = f"{board.source}: subjects[{i}].image"
                raise DataError(f"{where}: {subject.image}: {error}") from error
            references.append(reference)
        return Case(
            id=name,
            prompt=board.prompt,
            words=tuple(subject.word for subject in board.subjects),
            references=np.stack(references),
            intervals=board.frame_intervals(board.fps),
            n_frames=board.n_frames(board.fps),
            fps=float(board.fps),
            events=board.frame_events(board.fps),
            size=board.size,
        )


def read_benchmark(
    path: str | os.PathLike[str], tracker: Tracker, limit: int | None = None
) -> StoryboardFile:
    """The benchmark of a JSON Lines file: one storyboard per line, an optional "id", pictures
    relative to the file. `limit` reads no more than the first so many.

    Raises DataError naming file and line for anything that is no storyboard to measure.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot read this benchmark: {reason}") from error
    boards: dict[str, Storyboard] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and (limit is None or len(boards) < limit):
            name, board = _read_board(line, f"{path}:{number}", path.parent)
            if name in boards:
                raise DataError(f"{path}: the id {name!r} is given twice; ids must differ")
            boards[name] = board
    if not boards:
        raise DataError(f"{path}: holds no storyboards; write one JSON object per line")
    return StoryboardFile(str(path), tracker, tuple(boards.items()))


def _read_board(line: str, where: str, base: Path) -> tuple[str, Storyboard]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # endless digits or brackets
        raise DataError(f"{where}: not JSON that can be read: {error}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: expected a storyboard ({{...}}) on each line")
    name = fields.pop("id", None)
    try:
        board = Storyboard.from_dict(fields, base=base, source=where)
    except StoryboardError as error:
        raise DataError(str(error)) from error
    if not board.subjects:
        raise DataError(f"{where}: subjects: there are none, so there is nothing to measure")
    if board.negative_prompt:
        raise DataError(f"{where}: negative_prompt: benchmarks are rendered without; remove it")
    if board.seed is not None:
        raise DataError(f"{where}: seed: a benchmark's noise is drawn from --seed; remove it")
    return (where if name is None else str(name)), board
