"""What to ask a model for: cases, each one clip to render, of the sprites world or of a file of
storyboards.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import images
from alchemint_jax.errors import DataError, StoryboardError
from alchemint_jax.events import FrameEvent
from alchemint_jax.storyboard import Limits, Storyboard
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.world import Clip, World, sample_clip

WORLD = World()
FIRST_SEED = 2**32
"""Benchmark clips are drawn from seeds `FIRST_SEED + seed`; training uses small ones, so no clip is
shared."""
MAX_PROMPT = 111
"""Bytes of a caption that models of this world read: the loader's 112 tokens, less the last."""
COUNTS = (1, 2, 2, 1, 3)
"""Number of subjects of successive sprites cases."""

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
    n_frames: int = World.frames
    fps: float = World.fps
    events: tuple[FrameEvent, ...] = ()
    """Texts, and the pixel frames that they are about; scores of subjects do not look at them."""


def sprites_cases(limit: int = 128, seed: int = 0, world: World = WORLD) -> list[Case]:
    """The sprites benchmark: clips of the world that no training seed draws, with one to three
    subjects.
    """
    cases: list[Case] = []
    counts = itertools.cycle(COUNTS)
    count = next(counts)
    for index in itertools.count():
        if len(cases) >= limit:
            return cases
        clip = sample_clip(index, seed=FIRST_SEED + seed, world=world, subjects=count)
        if not all(subject.intervals for subject in clip.subjects):
            continue  # a subject that never shows enough of itself asks for nothing
        cases.append(clip_case(f"sprites-{seed}-{index:05d}", clip, world))
        count = next(counts)
    raise AssertionError("unreachable")


def clip_case(name: str, clip: Clip, world: World) -> Case:
    """What a clip of the world shows, asked for."""
    return Case(
        id=name,
        prompt=_shortened(clip.caption),
        words=tuple(subject.word for subject in clip.subjects),
        references=np.stack([subject.references[0] for subject in clip.subjects]),
        intervals=tuple(subject.intervals for subject in clip.subjects),
        n_frames=world.frames,
        fps=world.fps,
        events=tuple((event.text, event.during) for event in clip.events),
    )


def _shortened(caption: str) -> str:
    """Without its background where it would be cut off in mid-word."""
    if len(caption.encode()) <= MAX_PROMPT:
        return caption
    return re.sub(r" on an? \w+ background$", "", caption)


def read_benchmark(
    path: str | os.PathLike[str], limit: int | None = None, world: World = WORLD
) -> list[Case]:
    """Cases of a JSON Lines file: one storyboard per line, an optional "id", pictures relative to
    the file.

    Raises DataError naming file and line for anything that cannot be asked for or measured.
    """
    path = Path(path)
    limits = Limits(
        max_subjects=world.max_subjects,
        max_frames=world.frames,
        min_frames=world.frames,
        fps=(world.fps,),
        sizes=((world.size, world.size),),
        events=True,  # whether a model has them is asked when it is there
    )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: cannot read this benchmark: {reason}") from error
    cases: list[Case] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and (limit is None or len(cases) < limit):
            where = f"{path}:{number}"
            cases.append(_read_case(line, where, path.parent, limits, world.view_size))
    if not cases:
        raise DataError(f"{path}: holds no storyboards; write one JSON object per line")
    twice = [case.id for i, case in enumerate(cases) if case.id in {c.id for c in cases[:i]}]
    if twice:
        raise DataError(f"{path}: the id {twice[0]!r} is given twice; ids must differ")
    return cases


def _read_case(line: str, where: str, base: Path, limits: Limits, view_size: int) -> Case:
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
        board = Storyboard.from_dict(fields, base=base, source=where).validate_for(limits)
    except StoryboardError as error:
        raise DataError(str(error)) from error
    if not board.subjects:
        raise DataError(f"{where}: subjects: there are none, so there is nothing to measure")
    if board.negative_prompt:
        raise DataError(f"{where}: negative_prompt: benchmarks are rendered without; remove it")
    if board.seed is not None:
        raise DataError(f"{where}: seed: a benchmark's noise is drawn from --seed; remove it")
    assert board.fps is not None  # filled in by validate_for
    references = []
    for i, subject in enumerate(board.subjects):
        reference = images.load_reference(subject.image, (view_size, view_size))
        try:
            tracker.kind_of(reference)
        except DataError as error:
            raise DataError(f"{where}: subjects[{i}].image: {subject.image}: {error}") from error
        references.append(reference)
    return Case(
        id=where if name is None else str(name),
        prompt=board.prompt,
        words=tuple(subject.word for subject in board.subjects),
        references=np.stack(references),
        intervals=board.frame_intervals(board.fps),
        n_frames=board.n_frames(board.fps),
        fps=float(board.fps),
        events=board.frame_events(board.fps),
    )
