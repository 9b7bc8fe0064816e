"""TIE's prompts (MatrixTeam-AI/TIE): JSON Lines of texts and their seconds.

    {"video": "a.mp4", "prompt": {"global_description": "...", "entities": [
        {"events": [{"start_time": 0.0, "end_time": 4.0, "description": "..."}]}]}}

Also read are its other forms, as its loader knows them: `[[starts], [ends], [texts]]`, whose first
text is the global one; `participants` with a `timeline`; and `behaviors` in place of `events`.

Entities have no names and no pictures. Written, each subject is an entity whose first events say
that it is in view; read, that is how it is known again. Of other entities the subject is whom a
text begins with (person_1), or the first single thing that the taxonomy finds, on screen while any
of their texts goes on. The loader gives the global text 10 seconds; nothing says how long a video
is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.boards.board import Board, name_of, object_of
from alchemint_jax.evaluate.boards.draft import Draft, Role
from alchemint_jax.evaluate.boards.formats import common
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.timeline import in_view
from alchemint_jax.scene.spans import Spans
from alchemint_jax.wording import mentions

READS = ("seconds",)
WRITES: tuple[str, ...] = ()
SECONDS = 10.0

Event = tuple[str, tuple[float, float]]
_IN_VIEW = re.compile(r"(?:The )?(.+) is in view\.")
_NUMBERED = re.compile(r"([A-Za-z]+)_(\d+)\b")  # as its examples call people: person_1


def read(source: Path, options: Options, notes: Notes) -> Iterator[Draft]:
    """The boards of a file of prompts."""
    for where, line in common.filled_lines(source):
        fields = object_of(line, where)
        name = name_of(Path(str(fields.get("video") or where.rpartition(":")[2])).stem)
        try:
            text, entities = _parsed(fields.get("prompt"), f"{where}: prompt")
        except DataError as error:
            notes.left_out.append(str(error))
            continue
        roles, events = [], []
        for entity in entities:
            role, others = _role(entity)
            events += others
            if role is not None:
                roles.append(role)
            elif others:
                notes.remarks.append(f"{name}: nobody is named in {others[0][0][:60]!r}")
        last = max((end for _, (_, end) in events), default=0.0)
        last = max([last, *(end for role in roles for _, end in role.appears)])
        duration = max(last, SECONDS if options.seconds is None else options.seconds)
        yield Draft(name, text, duration, tuple(roles), tuple(events))


def _parsed(prompt: Any, where: str) -> tuple[str, list[list[Event]]]:
    """The global text, and the events of each entity."""
    if isinstance(prompt, list):
        columns = [common.list_in(column, where) for column in prompt]
        if len(columns) != 3 or len({*map(len, columns)}) != 1 or not columns[0]:
            raise DataError(f"{where}: expected [[starts], [ends], [texts]] of one length")
        rows = [
            (common.words_in(text, where), common.span_in(start, end, where))
            for start, end, text in zip(*columns, strict=True)
        ]
        return rows[0][0], _by_subject(rows[1:])
    if isinstance(prompt, str):
        raise DataError(f"{where}: is a text without times")
    fields = common.mapping_in(prompt, where)
    entities: list[list[Event]] = []
    for one in common.list_in(fields.get("entities", []), f"{where}.entities"):
        entity = common.mapping_in(one, f"{where}.entities")
        rows = common.list_in(
            entity.get("events", entity.get("behaviors", [])), f"{where}.entities.events"
        )
        entities.append([_event(row, "description", f"{where}.entities.events") for row in rows])
    people = common.mapping_in(fields.get("participants", {}), f"{where}.participants")
    for one in people.values():
        person = common.mapping_in(one, f"{where}.participants")
        rows = common.list_in(person.get("timeline", []), f"{where}.timeline")
        timeline = [_event(row, "long_caption", f"{where}.timeline") for row in rows]
        entities.append([_event(person, "long_description", f"{where}.participants"), *timeline])
    text = fields.get("global_description", fields.get("global_caption"))
    if isinstance(text, dict):
        text = text.get("long_caption")
    return common.words_in(text, f"{where}.global_description"), entities


def _event(row: Any, text: str, where: str) -> Event:
    fields = common.mapping_in(row, where)
    span = common.span_in(fields.get("start_time"), fields.get("end_time"), where)
    return common.words_in(fields.get(text), f"{where}.{text}"), span


def _by_subject(rows: Sequence[Event]) -> list[list[Event]]:
    """Events that are not grouped: those that begin with one subject belong together."""
    found: dict[str, list[Event]] = {}
    for i, row in enumerate(rows):
        numbered = _NUMBERED.match(row[0])
        key = numbered[0] if numbered else common.first_subject(row[0]) or f"\0{i}"
        found.setdefault(key, []).append(row)
    return [*found.values()]


def _subject(text: str) -> str | None:
    """Whom a text is about: person_1 is a person."""
    numbered = _NUMBERED.match(text)
    return numbered[1].lower() if numbered else common.first_subject(text)


def _role(entity: Sequence[Event]) -> tuple[Role | None, list[Event]]:
    """Who an entity is, if anybody; and its events, but those that only say that it is there."""
    seen = [(match[1], span) for text, span in entity if (match := _IN_VIEW.fullmatch(text))]
    others = [(text, span) for text, span in entity if not _IN_VIEW.fullmatch(text)]
    if seen:
        return Role(seen[0][0], Spans(span for _, span in seen)), others
    word = next(filter(None, (_subject(text) for text, _ in others)), None)
    return (Role(word, Spans(span for _, span in others)) if word else None), others


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """One file for all boards: prompts.jsonl."""
    lines = []
    for board in boards:
        story = board.storyboard
        entities: list[list[Event]] = [
            [(in_view(subject.word), (start, end)) for start, end in subject.appears]
            for subject in story.subjects
        ]
        for event in story.events:
            about = [i for i, s in enumerate(story.subjects) if mentions(event.text, s.word)]
            row = (event.text, (float(event.during[0]), float(event.during[1])))
            if about:
                entities[about[0]].append(row)
            else:
                entities.append([row])
        if story.duration > SECONDS:
            notes.remarks.append(
                f"{board.id}: lasts {story.duration:g} s; TIE's loader ends the global text at 10 s"
            )
        prompt = {
            "global_description": story.prompt,
            "entities": [{"events": [_row(*event) for event in entity]} for entity in entities],
        }
        lines.append(json.dumps({"video": f"{board.id}.mp4", "prompt": prompt}, ensure_ascii=False))
    yield "prompts.jsonl", "\n".join(lines) + "\n"


def _row(text: str, span: tuple[float, float]) -> dict[str, Any]:
    return {"start_time": span[0], "end_time": span[1], "description": text}
