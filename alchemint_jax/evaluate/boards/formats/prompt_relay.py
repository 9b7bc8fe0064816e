"""Prompt Relay's overlapping segments (GordonChen19/Prompt-Relay, src/MiniMax-H3): ID.json.

    {"global_prompt": "...", "local_prompts": ["...", ...],
     "segment_intervals": [[0.0, 2.6], [1.8, 4.2]], "time_unit": "seconds"}

Each interval of a subject is a segment whose text says that it is in view, and each event is one.
Segments may overlap. References have no time there, so pictures are not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from alchemint_jax.evaluate.boards.board import Board
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.timeline import in_view, sentence

WRITES: tuple[str, ...] = ()


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A file for each board."""
    for board in boards:
        story = board.storyboard
        rows = [(in_view(s.word), [*span]) for s in story.subjects for span in s.appears]
        rows += [(sentence(event.text), [*event.during]) for event in story.events]
        rows.sort(key=lambda row: row[1])
        content = {
            "global_prompt": story.prompt,
            "local_prompts": [text for text, _ in rows],
            "segment_intervals": [span for _, span in rows],
            "time_unit": "seconds",
        }
        yield f"{board.id}.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n"
