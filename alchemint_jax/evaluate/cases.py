"""Evaluation cases: each is the scene of one clip that a model is asked for.

Benchmarks make them, and files of storyboards are benchmarks.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.evaluate.boards.board import object_of
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.storyboard import Storyboard

if TYPE_CHECKING:
    from alchemint_jax.evaluate.tracker import Tracker


@runtime_checkable
class Benchmark(Protocol):
    """Cases, and who measures what a model makes of them. A world has one; so has a file.

    Examples:
        >>> tracker = al.evaluate.perceived_tracker()
        >>> path = "benchmarks/everyday/boards.jsonl"
        >>> boards = al.evaluate.read_benchmark(path, tracker, limit=1)
        >>> isinstance(boards, al.evaluate.Benchmark)
        True

    Source:
        This repository.
    """

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def limit(self) -> int | None:
        """How many cases to take where nobody says; None is all of them."""

    @property
    def tracker(self) -> Tracker:
        """Who measures."""

    def cases(self, pipe: Any, limit: int | None, seed: int) -> list[Scene]:
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

    def cases(self, pipe: Any, limit: int | None, seed: int) -> list[Scene]:
        """See `Benchmark`; nothing is random here."""
        del seed
        return [self._case(name, board, pipe) for name, board in self.boards[:limit]]

    def _case(self, name: str, board: Storyboard, pipe: Any) -> Scene:
        try:
            scene = board.scene(pipe.limits)
        except StoryboardError as error:
            raise DataError(str(error)) from error
        size = pipe.settings.reference_size or scene.size or pipe.settings.size
        subjects = []
        for i, subject in enumerate(scene.subjects):
            image = subject.picture(size)
            try:
                self.tracker.check(image)
            except DataError as error:
                where = f"{board.source}: subjects[{i}].image"
                raise DataError(f"{where}: {board.subjects[i].image}: {error}") from error
            subjects.append(dataclasses.replace(subject, pictures=image[None]))
        return dataclasses.replace(scene, id=name, subjects=tuple(subjects))


def read_benchmark(
    path: str | os.PathLike[str],
    tracker: Tracker,
    limit: int | None = None,
    pictures: bool = True,
) -> StoryboardFile:
    """The benchmark of a JSON Lines file, with a storyboard on each line.

    Args:
        path: the file. A line may have an "id"; pictures are relative to the file.
        tracker: who measures.
        limit: how many storyboards to read, from the first; None reads all of them.
        pictures: whether every subject must have one. Where subjects have none, only videos that
            are there already can be scored.

    Returns:
        The benchmark.

    Raises:
        DataError: naming file and line of anything that is no storyboard to measure.

    Examples:
        >>> tracker = al.evaluate.perceived_tracker()
        >>> path = "benchmarks/everyday/boards.jsonl"
        >>> boards = al.evaluate.read_benchmark(path, tracker, limit=2)
        >>> len(boards.boards)
        2

    Source:
        This repository; the guide on benchmarks describes the file.
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
            name, board = _read_board(line, f"{path}:{number}", path.parent, pictures)
            if name in boards:
                raise DataError(f"{path}: the id {name!r} is given twice; ids must differ")
            boards[name] = board
    if not boards:
        raise DataError(f"{path}: holds no storyboards; write one JSON object per line")
    return StoryboardFile(str(path), tracker, tuple(boards.items()))


def _read_board(line: str, where: str, base: Path, pictures: bool) -> tuple[str, Storyboard]:
    fields = object_of(line, where)
    name = fields.pop("id", None)
    try:
        board = Storyboard.from_dict(fields, base=base, source=where, pictures=pictures)
    except StoryboardError as error:
        raise DataError(str(error)) from error
    if not board.subjects:
        raise DataError(f"{where}: subjects: there are none, so there is nothing to measure")
    if board.negative_prompt:
        raise DataError(f"{where}: negative_prompt: benchmarks are rendered without; remove it")
    if board.seed is not None:
        raise DataError(f"{where}: seed: a benchmark's noise is drawn from --seed; remove it")
    return (where if name is None else str(name)), board
