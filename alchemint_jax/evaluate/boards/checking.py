"""What is wrong with a set, what is odd about it, and what it asks for, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import images
from alchemint_jax.annotate.words import category_of
from alchemint_jax.errors import StoryboardError
from alchemint_jax.evaluate.boards.board import Board, read_boards
from alchemint_jax.evaluate.boards.pictures import FLAT
from alchemint_jax.evaluate.boards.times import SHORTEST
from alchemint_jax.evaluate.metrics import always_present
from alchemint_jax.wording import mentions, same_word

_SMALL = 48  # pixels of the shorter side


@dataclass(frozen=True)
class Report:
    """What a set is like.

    Attributes:
        problems: why it cannot be used: sentences that begin with file and line.
        remarks: what is probably not meant.
        figures: numbers of boards, subjects and so on, by name.
    """

    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    figures: dict[str, Any]


def check(path: str | Path) -> Report:
    """Looks at every line and every picture of a set.

    Raises:
        DataError: the file cannot be read.
    """
    boards, problems = read_boards(path)
    remarks: list[str] = []
    looks = {path: _look(path) for board in boards for path in _pictures(board)}
    for board in boards:
        remarks += _remarks(board)
        problems += _faults(board, looks)
    remarks += _alike(boards)
    if small := [path for path, (problem, side) in looks.items() if not problem and side < _SMALL]:
        remarks.append(f"{small[0]}: {len(small)} pictures are smaller than {_SMALL} pixels")
    return Report(tuple(problems), tuple(remarks), _figures(boards))


def _pictures(board: Board) -> list[Path]:
    return [s.image for s in board.storyboard.subjects if s.image is not None]


def _look(path: Path) -> tuple[str, int]:
    """What is wrong with a picture, or "", and its shorter side in pixels."""
    try:
        pixels = images.load_picture(path, 512)
    except StoryboardError as error:
        return str(error), 0
    nothing = f"{path}: shows nothing: it is of one colour" if pixels.std() < FLAT else ""
    return nothing, min(pixels.shape[:2])


def _faults(board: Board, looks: Mapping[Path, tuple[str, int]]) -> list[str]:
    """Subjects that nobody could measure, and pictures that show nothing."""
    found = []
    for i, subject in enumerate(board.storyboard.subjects):
        where = f"{board.where}: subjects[{i}]"
        for start, end in subject.appears:
            if end - start < min(SHORTEST, board.storyboard.duration) - 1e-6:
                found.append(
                    f"{where}.appears: [{start:g}, {end:g}] is shorter than {SHORTEST:g} s, which "
                    "cannot be told from a flicker"
                )
        if subject.image is not None and (problem := looks[subject.image][0]):
            found.append(f"{where}.image: {problem}")
    return found


def _remarks(board: Board) -> list[str]:
    """What a board is allowed to be, though few are meant so."""
    story = board.storyboard
    found = list(story.remarks)
    text = " ".join([story.prompt, *(event.text for event in story.events)])
    if not story.subjects:
        found.append(f"{board.where}: has no subjects, so nobody's time can be measured")
    words = Counter(same_word(subject.word) for subject in story.subjects)
    for i, subject in enumerate(story.subjects):
        where = f"{board.where}: subjects[{i}]"
        if not mentions(text, subject.word):
            found.append(f"{where}.word: {subject.word!r} is neither in the prompt nor in an event")
        if words[same_word(subject.word)] > 1 and subject.image is None:
            found.append(
                f"{where}.word: another subject is a {subject.word!r} too, and without pictures "
                "nobody can tell them apart"
            )
    if len({*_pictures(board)}) < len(_pictures(board)):
        found.append(f"{board.where}: two subjects share a picture, so nobody can tell them apart")
    whole = [(0.0, float(story.duration))]
    always = [[*s.appears] == whole for s in story.subjects]
    if always and all(always) and not story.events:
        found.append(f"{board.where}: everybody is always on screen; no time is asked for")
    return found


def _alike(boards: Sequence[Board]) -> list[str]:
    """Remarks on the set as a whole."""
    found = []
    bare = [b for b in boards if any(s.image is None for s in b.storyboard.subjects)]
    if bare:
        found.append(
            f"{bare[0].where}: {len(bare)} of {len(boards)} boards have subjects without pictures: "
            "systems that draw from pictures cannot be asked for them"
        )
    if len({(b.storyboard.duration, b.storyboard.fps, b.storyboard.size) for b in boards}) > 1:
        found.append(
            f"{boards[0].where}: the boards differ in duration, fps or size; "
            "`alchemint evaluate --model` takes boards of one kind"
        )
    return found


def _figures(boards: Sequence[Board]) -> dict[str, Any]:
    stories = [board.storyboard for board in boards]
    subjects = [(story, subject) for story in stories for subject in story.subjects]
    scaled = [
        [(s / story.duration, e / story.duration) for s, e in one.appears]
        for story, one in subjects
    ]
    share = [sum(e - s for s, e in rows) for rows in scaled]
    words = {same_word(one.word) for _, one in subjects}
    known = [category_of(word) for word in words]
    figures: dict[str, Any] = {
        "boards": len(boards),
        "subjects": len(subjects),
        "subjects_of_a_board": dict(sorted(Counter(len(s.subjects) for s in stories).items())),
        "words": len(words),
        "words_the_packaged_detector_knows": sum(bool(one and one.detector) for one in known),
        "pictures": len({path for board in boards for path in _pictures(board)}),
        "several_times": sum(len(one.appears) > 1 for _, one in subjects),
        "events": sum(len(story.events) for story in stories),
        "seconds": [
            min((float(s.duration) for s in stories), default=0.0),
            max((float(s.duration) for s in stories), default=0.0),
        ],
    }
    if subjects:
        figures["share_of_time_on_screen"] = round(float(np.mean(share)), 4)
        figures["t_iou_of_always_present"] = round(always_present(scaled)["t_iou"], 4)
    return figures
