"""When anything of a category is on screen in a video, whoever it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

from alchemint_jax.annotate.words import detected_kind
from alchemint_jax.errors import DataError
from alchemint_jax.scene.spans import Spans


def on_screen(scenes: str | os.PathLike[str], category: str) -> dict[str, Spans]:
    """When anything of a category is on screen, for each video: half-open frames of its file.

    Subjects that were left out count, too: those without a good picture, or without a word in the
    caption. What is between two scenes of a video, or in one that was too short to be searched,
    counts as without.

        >>> on_screen("out/scenes.jsonl", "person")["street.mp4"]  # doctest: +SKIP
        ((37, 212), (240, 301))

    Args:
        scenes: a file that `annotate` has written.
        category: a word of COCO ("person", "dog"), or what a word of the taxonomy is to it:
            "woman" is "person".

    Raises:
        DataError: it is no such file.
    """
    wanted = detected_kind(category)
    found: dict[str, list[tuple[int, int]]] = {}
    try:
        for text in Path(scenes).read_text("utf-8").splitlines():
            line = json.loads(text)
            mine = found.setdefault(line["source"], [])
            first = line.get("start_frame", 0)
            runs = line.get("categories", {}).get(wanted, {"frames": []})["frames"]
            mine += [(first + start, first + end) for start, end in runs]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{scenes}: is no scenes.jsonl ({error})") from error
    return {source: Spans(runs) for source, runs in found.items()}
