"""EntityBench's episodes (Catherine-R-He/EntityBench, data/scripts/*.json): who is in which shot.

    {"story_name", "story_overview",
     "scenes": [{"scene_num": 1, "video_prompts": [...], "cut": [...],
                 "action_descriptions": [...]}],
     "entity_schedule": {"1:1": {"characters": [...], "places": [...], "objects": [...]}},
     "entity_descriptions": {"Character 1": {"name", "label", "description"}}}

A key of the schedule is SCENE:SHOT. Shots have no seconds: here each lasts `shot_seconds` (5), one
after the other. Characters and objects become subjects, named as the schedule names them; what
they look like follows the overview in the prompt, a line each. What happens in a shot is an event.
Places are no subjects and are not kept. There are no pictures.

Written, a subject is in a shot if it is on screen for at least half of it. Names, kinds and keys
beginning with "_" that a board does not hold are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemint_jax.annotate.words import kind_of
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.boards.board import Board, name_of
from alchemint_jax.evaluate.boards.draft import Draft, Role
from alchemint_jax.evaluate.boards.formats import common
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.evaluate.boards.timeline import described, stretches
from alchemint_jax.scene.spans import Spans
from alchemint_jax.scene.storyboard import Storyboard

READS = ("shot_seconds",)
WRITES = ("shot_seconds",)
SHOT = 5.0
_SUBJECTS = ("characters", "objects")
_MOST = 2000  # characters of an event


def read(source: Path, options: Options, notes: Notes) -> Iterator[Draft]:
    """The boards of an episode, or of a folder of them."""
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not paths:
        raise DataError(f"{source}: holds no episodes (*.json)")
    for path in paths:
        try:
            yield _draft(path, options.shot_seconds or SHOT)
        except DataError as error:
            notes.left_out.append(str(error))


def _draft(path: Path, seconds: float | int) -> Draft:
    try:
        data = json.loads(common.text_of(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is not JSON: {error}") from error
    fields = common.mapping_in(data, str(path))
    schedule = common.mapping_in(fields.get("entity_schedule"), f"{path}: entity_schedule")
    actions = _actions(fields, path)
    shots = [*actions] or [*schedule]
    strangers = [key for key in schedule if key not in shots]
    if strangers:
        raise DataError(f"{path}: entity_schedule: there is no shot {strangers[0]!r:.40}")
    looks = _looks(fields, path)
    rows: dict[str, list[tuple[float, float]]] = {}
    for number, key in enumerate(shots):
        where = f"{path}: entity_schedule[{key!r:.20}]"
        shot = common.mapping_in(schedule.get(key, {}), where)
        for kind in _SUBJECTS:
            for name in common.list_in(shot.get(kind, []), f"{where}.{kind}"):
                name = common.words_in(name, f"{where}.{kind}")
                rows.setdefault(name, []).append((number * seconds, (number + 1) * seconds))
    overview = common.words_in(fields.get("story_overview"), f"{path}: story_overview")
    known = [f"{name}: {looks[name]}" for name in rows if name in looks]
    roles = [Role(name, Spans(spans), looks=looks.get(name, "")) for name, spans in rows.items()]
    events = tuple(
        (text[:_MOST], (i * seconds, (i + 1) * seconds))
        for i, key in enumerate(shots)
        if (text := actions.get(key))
    )
    name = name_of(str(fields.get("story_name") or path.stem))
    return Draft(name, "\n".join([overview, *known]), len(shots) * seconds, tuple(roles), events)


def _actions(fields: Mapping[str, Any], path: Path) -> dict[str, str]:
    """What happens in each shot, in their order."""
    found = {}
    for entry in common.list_in(fields.get("scenes", []), f"{path}: scenes"):
        scene = common.mapping_in(entry, f"{path}: scenes")
        texts = scene.get("action_descriptions") or scene.get("video_prompts") or []
        for number, text in enumerate(common.list_in(texts, f"{path}: scenes"), 1):
            found[f"{scene.get('scene_num')}:{number}"] = str(text).strip()
    return found


def _looks(fields: Mapping[str, Any], path: Path) -> dict[str, str]:
    where = f"{path}: entity_descriptions"
    entries = common.mapping_in(fields.get("entity_descriptions", {}), where)
    rows = [common.mapping_in(entry, where) for entry in entries.values()]
    return {
        str(row.get("name")): " ".join(str(row.get("description") or "").split()) for row in rows
    }


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """An episode for each board: ID.json."""
    seconds = options.shot_seconds or SHOT
    for board in boards:
        story = board.storyboard
        count = max(1, round(story.duration / seconds))
        overview, looks = _split(story)
        kinds = [_kind(subject.word, looks) for subject in story.subjects]
        schedule: dict[str, dict[str, list[str]]] = {}
        actions, moved = [], 0.0
        for shot in range(count):
            start, end = shot * seconds, (shot + 1) * seconds
            there = [_covered(s.appears, start, end) for s in story.subjects]
            moved = max([moved, *(min(x, seconds - x) for x in there)])
            entry: dict[str, list[str]] = {"characters": [], "places": [], "objects": []}
            for subject, kind, covered in zip(story.subjects, kinds, there, strict=True):
                if covered >= seconds / 2:
                    entry[kind].append(subject.word)
            schedule[f"1:{shot + 1}"] = entry
            actions.append(_action(story, start, end))
        if moved > 1e-6:
            notes.remarks.append(f"{board.id}: times move by up to {moved:.2f} s to those of shots")
        shown = {word for shot in schedule.values() for kind in _SUBJECTS for word in shot[kind]}
        if lost := [s.word for s in story.subjects if s.word not in shown]:
            notes.remarks.append(
                f"{board.id}: {', '.join(lost)}: in no shot, for no half of any shows them; "
                "shorter ones (--shot-seconds) may"
            )
        content = {
            "story_name": board.id,
            "story_overview": overview,
            "scenes": [
                {
                    "scene_num": 1,
                    "video_prompts": actions,
                    "cut": [True] + [False] * (count - 1),
                    "action_descriptions": actions,
                }
            ],
            "entity_schedule": schedule,
            "entity_descriptions": _descriptions(story, kinds, looks),
        }
        yield f"{board.id}.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _split(story: Storyboard) -> tuple[str, dict[str, str]]:
    """The overview, and what subjects look like: lines that begin with their words."""
    looks, rest = {}, []
    for line in story.prompt.split("\n"):
        said = next((s.word for s in story.subjects if line.startswith(f"{s.word}: ")), None)
        if said is None:
            rest.append(line)
        else:
            looks[said] = line.removeprefix(f"{said}: ")
    return "\n".join(rest), looks


def _kind(word: str, looks: Mapping[str, str]) -> str:
    about = common.first_subject(looks.get(word, "")) or word
    return "characters" if kind_of(about) in ("human", "animal") else "objects"


def _covered(spans: Spans, start: float, end: float) -> float:
    return sum(max(0.0, min(e, end) - max(s, start)) for s, e in spans)


def _action(story: Storyboard, start: float, end: float) -> str:
    """What happens in a shot: its own event, or what the stretches in it show."""
    inside = [
        event.text
        for event in story.events
        if min(event.during[1], end) - max(event.during[0], start) >= (end - start) / 2
    ]
    if inside:
        return " ".join(inside)
    middle = (start + end) / 2
    some = [s for s in stretches(story) if s.start <= middle < s.end] or stretches(story)[-1:]
    return described(story, some[0])


def _descriptions(
    story: Storyboard, kinds: Sequence[str], looks: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for subject, kind in zip(story.subjects, kinds, strict=True):
        title = kind.removesuffix("s").capitalize()
        label = f"{title} {1 + sum(name.startswith(title) for name in found)}"
        about = looks.get(subject.word, subject.word)
        found[label] = {"name": subject.word, "label": label, "description": about}
    return found
