"""Scenes of `alchemint annotate` as boards: the caption, and who is on screen when, as measured.

What is asked for is then what a real clip shows. scenes.jsonl is read, or the folder that holds it;
each subject has the best of its pictures. The frames per second and the size of the clip are not
asked for: models have their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alchemint_jax.data.lines import read_line
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.boards.board import name_of, object_of
from alchemint_jax.evaluate.boards.draft import Draft, Role
from alchemint_jax.evaluate.boards.formats import common
from alchemint_jax.evaluate.boards.formats.common import Notes, Options
from alchemint_jax.evaluate.boards.pictures import best_pictures, inside

READS: tuple[str, ...] = ()


def read(source: Path, options: Options, notes: Notes) -> Iterator[Draft]:
    """A board for each scene that is kept."""
    path = source / "scenes.jsonl" if source.is_dir() else source
    for where, text in common.filled_lines(path):
        line = object_of(text, where)
        name = name_of(str(line.get("id") or where.rpartition(":")[2]))
        if line.get("status", "ok") != "ok":
            notes.left_out.append(f"{name}: {line.get('error') or line['status']}")
            continue
        try:
            scene = read_line(line)
        except DataError as error:
            notes.left_out.append(f"{where}: {error}")
            continue
        roles = []
        for subject, one in zip(scene.subjects, line["subjects"], strict=True):
            files = (inside(path.parent, str(best["file"])) for best in best_pictures(one))
            picture = next((file for file in files if file is not None and file.is_file()), None)
            if subject.spans:
                roles.append(Role(subject.word, scene.clock.seconds(subject.spans), picture))
        events = tuple(
            (event.text, span)
            for event in scene.events
            for span in scene.clock.seconds(event.spans)
        )
        yield Draft(name, scene.caption, scene.clock.duration, tuple(roles), events)
