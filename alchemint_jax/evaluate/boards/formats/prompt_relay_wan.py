"""Prompt Relay's segments one after the other, for Wan2.2 (its prompts.json): ID.json.

    {"global_prompt": "...", "local_prompts": ["...", ...], "segment_lengths": [7, 12, 2]}

Segments are the stretches of a board, and lengths are latent frames: their sum is that of the
whole video, (frames - 1) / 4 + 1. A latent frame belongs to the stretch that has most of its pixel
frames; videos go at `fps` (that of the board, or 16).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from alchemint_jax.evaluate.boards.board import Board
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.timeline import described, stretches
from alchemint_jax.scene.clock import WAN_STRIDE, Clock

WRITES = ("fps",)
FPS = 16


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A file for each board."""
    for board in boards:
        story = board.storyboard
        clock = Clock.for_duration(story.duration, options.fps or story.fps or FPS, WAN_STRIDE)
        parts = stretches(story)
        covered = np.zeros((len(parts), clock.frames))
        for i, part in enumerate(parts):
            for start, end in clock.spans([(part.start, part.end)], story.duration):
                covered[i, start:end] = 1
        owner = clock.latent_coverage(covered).argmax(0)
        lengths = np.bincount(owner, minlength=len(parts)).tolist()
        if 0 in lengths:
            notes.remarks.append(
                f"{board.id}: stretches that are shorter than a latent frame are left out: "
                f"{lengths.count(0)}"
            )
        texts = [described(story, part) or story.prompt for part in parts]
        kept = [(text, length) for text, length in zip(texts, lengths, strict=True) if length]
        content = {
            "global_prompt": story.prompt,
            "local_prompts": [text for text, _ in kept],
            "segment_lengths": [length for _, length in kept],
        }
        yield f"{board.id}.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n"
