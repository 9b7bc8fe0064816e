"""Prompts with times for MiniMax-H3: ID.txt, and ID-1.png ... for the pictures of subjects.

The form is that of its prompt guide (MiniMax-AI/MiniMax-H3, skills/h3-prompt-writing): with a
picture of every subject the six sections of the full-reference mode, else the three of text to
video. Its notation of time is the cut: "[Shot 2] At 00:01.500, the shot cuts to ...", and subjects
"appear in [Shot 1], [Shot 3]". So each stretch of a board is a shot, also where the board means one
shot in which somebody comes. Videos are 4 to 15 seconds long; boards of other lengths, and of more
than 9 pictures, are left out. Nothing is to be heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alchemint_jax.evaluate.boards.board import Board
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options, picture_png
from alchemint_jax.evaluate.boards.timeline import clock_time, described, sentence, stretches, the
from alchemint_jax.scene.storyboard import Storyboard

WRITES: tuple[str, ...] = ()
SECONDS = (4, 15)
PICTURES = 9
_SOUND = "overall_soundscape:{}N/A\n\nnon_diegetic_music:{}N/A\n"


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A prompt for each board, and its pictures."""
    for board in boards:
        story = board.storyboard
        if not SECONDS[0] <= story.duration <= SECONDS[1]:
            notes.left_out.append(
                f"{board.id}: lasts {story.duration:g} s; H3 makes {SECONDS[0]} to {SECONDS[1]} s"
            )
            continue
        pictures = [s.image for s in story.subjects if s.image is not None]
        if len(pictures) > PICTURES:
            notes.left_out.append(
                f"{board.id}: has {len(pictures)} pictures; H3 takes up to {PICTURES}"
            )
            continue
        whole = bool(pictures) and len(pictures) == len(story.subjects)
        yield f"{board.id}.txt", _with_references(story) if whole else _text_alone(story)
        if whole:
            for number, path in enumerate(pictures, 1):
                yield f"{board.id}-{number}.png", picture_png(path)
        elif pictures:
            notes.remarks.append(f"{board.id}: not all subjects have pictures; none is written")


def _shots(story: Storyboard, names: Sequence[str]) -> str:
    lines = []
    for number, part in enumerate(stretches(story), 1):
        what = described(story, part, names)
        begins = f"[Shot {number}] "
        if number > 1:
            begins += f"At {clock_time(part.start)}, the shot cuts to a new view. "
        lines.append(begins + what)
    return "\n".join(lines)


def _with_references(story: Storyboard) -> str:
    names = [f"<Subject {n}>" for n in range(1, len(story.subjects) + 1)]
    shots = stretches(story)
    defined, kept = [], []
    for i, (name, subject) in enumerate(zip(names, story.subjects, strict=True)):
        seen = ", ".join(f"[Shot {n}]" for n, s in enumerate(shots, 1) if i in s.present)
        defined.append(f"{name} is {the(subject.word)} in <Picture {i + 1}>.")
        kept.append(
            f"{name} (appears in {seen}): fully_preserved - it looks as in <Picture {i + 1}>."
        )
    parts = [
        "subject_definitions:\n" + "\n".join(defined),
        f"summary:\n[reference generation] {sentence(story.prompt)}",
        "retention_analysis:\n" + "\n".join(kept),
        f"detailed_description:\n{sentence(story.prompt)}\n{_shots(story, names)}",
        _SOUND.format("\n", "\n"),
    ]
    return "\n\n".join(parts)


def _text_alone(story: Storyboard) -> str:
    names = [the(subject.word) for subject in story.subjects]
    shots = _shots(story, names).replace("\n", " ")
    rest = shots.removeprefix("[Shot 1] ")
    said = f"integrated_multimodal_description: [Shot 1] {sentence(story.prompt)} {rest}"
    return f"{said}\n\n{_SOUND.format(' ', ' ')}"
