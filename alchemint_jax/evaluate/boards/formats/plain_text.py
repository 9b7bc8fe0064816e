"""Prompts with times in words, for whoever reads text: ID.txt.

The prompt, and a line for each stretch: "[00:00.000 - 00:01.500] The dog is in view; the cat is not
in view." No system documents this form; it is what one would write for those that have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alchemint_jax.evaluate.boards.board import Board
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.timeline import clock_time, described, sentence, stretches

WRITES: tuple[str, ...] = ()


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A prompt for each board."""
    for board in boards:
        story = board.storyboard
        lines = [sentence(story.prompt)]
        for part in stretches(story):
            times = f"[{clock_time(part.start)} - {clock_time(part.end)}]"
            lines.append(f"{times} {described(story, part)}".rstrip())
        yield f"{board.id}.txt", "\n".join(lines) + "\n"
