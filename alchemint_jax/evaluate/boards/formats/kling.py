"""Requests of several shots for Kling 3.0 Omni: ID.json, and ID-1.png ... for pictures.

    {"model_name": "kling-v3-omni", "multi_shot": true, "shot_type": "customize",
     "multi_prompt": [{"index": 1, "prompt": "...", "duration": "3"}], "duration": "5",
     "image_list": [{"image_url": "ID-1.png"}]}

Each stretch of a board is a shot, of whole seconds; prompts name pictures as <<<image_1>>>. Kling's
own pages could not be read: fields and limits (3 to 15 seconds, 6 shots of at least one second, 512
characters a shot, 7 pictures of at least 300 pixels) are what others who serve it document. Before
it is posted, `image_url` has to become an address or the base64 of the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from alchemint_jax.evaluate.boards.board import Board
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options, picture_png
from alchemint_jax.evaluate.boards.timeline import described, sentence, stretches, the
from alchemint_jax.scene.storyboard import Storyboard

WRITES: tuple[str, ...] = ()
SECONDS = (3, 15)
SHOTS = 6
CHARACTERS = 512
PICTURES = 7
SIDE = 300  # pixels


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A request for each board, and its pictures."""
    for board in boards:
        story = board.storyboard
        pictures = [s.image for s in story.subjects if s.image is not None]
        shots, moved = _shots(story)
        seconds = sum(length for _, length in shots)
        faults = {
            f"lasts {seconds} s; Kling makes {SECONDS[0]} to {SECONDS[1]} s": not (
                SECONDS[0] <= seconds <= SECONDS[1]
            ),
            f"has {len(shots)} stretches; Kling takes {SHOTS} shots": len(shots) > SHOTS,
            f"has {len(pictures)} pictures; Kling takes {PICTURES}": len(pictures) > PICTURES,
            f"a shot needs more than {CHARACTERS} characters": any(
                len(text) > CHARACTERS for text, _ in shots
            ),
        }
        if wrong := [fault for fault, is_so in faults.items() if is_so]:
            notes.left_out.append(f"{board.id}: {'; '.join(wrong)}")
            continue
        if moved > 1e-6:
            notes.remarks.append(f"{board.id}: times move by up to {moved:.2f} s to whole seconds")
        files = [f"{board.id}-{number}.png" for number in range(1, len(pictures) + 1)]
        request: dict[str, Any] = {
            "model_name": "kling-v3-omni",
            "multi_shot": True,
            "shot_type": "customize",
            "multi_prompt": [
                {"index": number, "prompt": text, "duration": str(length)}
                for number, (text, length) in enumerate(shots, 1)
            ],
            "duration": str(seconds),
        }
        if files:
            request["image_list"] = [{"image_url": name} for name in files]
        yield f"{board.id}.json", json.dumps(request, ensure_ascii=False, indent=2) + "\n"
        for name, path in zip(files, pictures, strict=True):
            yield name, picture_png(path, SIDE)


def _shots(story: Storyboard) -> tuple[list[tuple[str, int]], float]:
    """Text and whole seconds of each shot, and by how much times move."""
    names, number = [], 0
    for subject in story.subjects:
        number += subject.image is not None
        reference = "" if subject.image is None else f" (<<<image_{number}>>>)"
        names.append(the(subject.word) + reference)
    found, at, moved = [], 0, 0.0
    for part in stretches(story):
        end = round(part.end)
        moved = max(moved, abs(end - part.end))
        if end > at:
            text = f"{sentence(story.prompt)} {described(story, part, names)}"
            found.append((text.strip(), end - at))
            at = end
    return found, moved
