"""LTX Director's timeline (WhatDreamsCost/WhatDreamsCost-ComfyUI, js/ltx_director.js): ID.json.

    {"timeline_data": {"segments": [{"id": "1", "start": 0, "length": 24, "type": "text",
                                     "prompt": "..."}], "audioSegments": []},
     "local_prompts": "... | ...", "segment_lengths": "24,40", "duration_frames": 65,
     "frame_rate": 16}

Segments are the stretches of a board one after the other, in pixel frames; videos go at `fps` (that
of the board, or 24). `timeline_data` is what its editor opens, and the others are inputs of its
node, which it writes itself whenever the timeline changes. Pictures there are frames of the video
and none of a subject, so those of subjects are not written; the prompt of the whole video, which
the timeline does not hold, begins the text of each segment. Its editor draws no segment shorter
than 6 frames, and a remark names boards that have some. The source of the editor was read, and
nothing was opened in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from alchemint_jax.evaluate.boards.board import Board
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.timeline import described, sentence, stretches
from alchemint_jax.scene.clock import WAN_STRIDE, Clock

WRITES = ("fps",)
FPS = 24
SHORTEST = 6  # frames


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A file for each board."""
    for board in boards:
        story = board.storyboard
        rate = options.fps or story.fps or FPS
        clock = Clock.for_duration(story.duration, rate, WAN_STRIDE)
        segments: list[dict[str, Any]] = []
        for part in stretches(story):
            start = clock.frame(part.start)
            end = clock.frames if part.end >= story.duration else clock.frame(part.end)
            if end <= start:
                notes.remarks.append(f"{board.id}: a stretch shorter than a frame is left out")
                continue
            text = " ".join(filter(None, [sentence(story.prompt), described(story, part)]))
            segments.append({"start": start, "length": end - start, "type": "text", "prompt": text})
        short = sum(one["length"] < SHORTEST for one in segments)
        if short:
            notes.remarks.append(f"{board.id}: segments that are shorter than 6 frames: {short}")
        content = {
            "timeline_data": {
                "segments": [{"id": str(i), **one} for i, one in enumerate(segments, 1)],
                "audioSegments": [],
            },
            "local_prompts": " | ".join(one["prompt"] for one in segments),
            "segment_lengths": ",".join(str(one["length"]) for one in segments),
            "duration_frames": clock.frames,
            "frame_rate": rate,
        }
        yield f"{board.id}.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n"
