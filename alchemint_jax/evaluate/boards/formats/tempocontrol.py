"""TempoControl's three prompt sets (Shira-Schiber/TempoControl, data/*.csv): words and masks.

* one_object.csv: prompt, temp_object, control_signal1
* two_objects.csv: prompt, original_prompt, Object 1, Object 2, temp_object, static_object,
  control_signal1, control_signal2; the static object is always there
* action.csv: prompt, temp_object (a verb), static_object (who does it, always there),
  control_signal1, mov_sec, control_signal2

A signal has a 0 or 1 for each of the 21 latent frames of Wan's 81 frames at 16 a second. A latent
frame stands for the pixel frames that it holds, so a signal that begins at its entry 5 begins with
pixel frame 17. There are no pictures. A movement is an event of the board.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from alchemint_jax.annotate.words import caption_of
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.boards.board import Board, name_of
from alchemint_jax.evaluate.boards.draft import Draft, Role
from alchemint_jax.evaluate.boards.formats import common
from alchemint_jax.evaluate.boards.formats.common import Content, Notes, Options
from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from alchemint_jax.scene.spans import Spans

READS: tuple[str, ...] = ()
WRITES: tuple[str, ...] = ()
CLOCK = Clock(16, 81, WAN_STRIDE)
COLUMNS = {
    "one_object": ("prompt", "temp_object", "control_signal1"),
    "two_objects": (
        "prompt",
        "original_prompt",
        "Object 1",
        "Object 2",
        "temp_object",
        "static_object",
        "control_signal1",
        "control_signal2",
    ),
    "action": (
        "prompt",
        "temp_object",
        "static_object",
        "control_signal1",
        "mov_sec",
        "control_signal2",
    ),
}
_MOVEMENT = re.compile(r"A video of (.+), with a strong movement at the \w+ second\.?")


def read(source: Path, options: Options, notes: Notes) -> Iterator[Draft]:
    """The boards of one of the files, or of the folder that holds them."""
    paths = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    found = 0
    for path in paths:
        try:
            rows = list(csv.DictReader(io.StringIO(common.text_of(path)), strict=True))
        except csv.Error as error:
            raise DataError(f"{path}: is no table of comma-separated values: {error}") from error
        kind = _kind(rows[0] if rows else {})
        if kind is None:
            if not source.is_dir():
                raise DataError(f"{path}: has not the columns of one of {', '.join(COLUMNS)}")
            continue
        found += 1
        for number, row in enumerate(rows):
            where = f"{path}: row {number + 1}"
            try:
                yield _draft(kind, row, f"{name_of(path.stem)}-{number:03d}", where)
            except DataError as error:
                notes.left_out.append(str(error))
    if not found:
        raise DataError(f"{source}: holds none of {', '.join(f'{name}.csv' for name in COLUMNS)}")


def _kind(row: Mapping[str, object]) -> str | None:
    if "mov_sec" in row:
        return "action"
    if "static_object" in row:
        return "two_objects"
    return "one_object" if "control_signal1" in row and "temp_object" in row else None


def _draft(kind: str, row: Mapping[str, str], name: str, where: str) -> Draft:
    prompt = common.words_in(row.get("prompt"), f"{where}: prompt")
    word = common.words_in(row.get("temp_object"), f"{where}: temp_object")
    when = _spans(row.get("control_signal1"), f"{where}: control_signal1")
    roles, events = [Role(word, when)], []
    if kind != "one_object":
        other = common.words_in(row.get("static_object"), f"{where}: static_object")
        always = _spans(row.get("control_signal2"), f"{where}: control_signal2")
        if kind == "two_objects":
            roles.append(Role(other, always))
            if row.get("Object 1") == other:
                roles.reverse()
        else:
            said = _MOVEMENT.fullmatch(prompt)
            text = said[1] if said else f"{other} {word}"
            roles, events = [Role(other, always)], [(text, span) for span in when]
    return Draft(name, prompt, CLOCK.duration, tuple(roles), tuple(events))


def _spans(text: str | None, where: str) -> Spans:
    """The seconds of a signal."""
    entries = (text or "").split()
    if len(entries) != CLOCK.latent_frames or not {*entries} <= {"0", "1"}:
        raise DataError(f"{where}: expected {CLOCK.latent_frames} of 0 and 1")
    latents = Spans.where(np.array(entries) == "1")
    if not latents:
        raise DataError(f"{where}: is 0 all the time")
    return CLOCK.seconds(CLOCK.held([(first, end - 1) for first, end in latents]))


def _signal(spans: Spans) -> str:
    """The signal of seconds: the latent frames of which at least a half is covered."""
    present = np.zeros(CLOCK.frames)
    for start, end in CLOCK.spans(spans):
        present[start:end] = 1
    return " ".join("1" if x >= 0.5 else "0" for x in CLOCK.latent_coverage(present))


def write(boards: Sequence[Board], options: Options, notes: Notes) -> Iterator[tuple[str, Content]]:
    """A table for each of the sets that boards belong to."""
    rows: dict[str, list[dict[str, object]]] = {}
    for board in boards:
        kind, row = _row(board)
        if kind in COLUMNS:
            rows.setdefault(kind, []).append({"prompt": board.storyboard.prompt, **row})
        else:
            notes.left_out.append(f"{board.id}: {kind}")
    for kind, some in rows.items():
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS[kind], lineterminator="\n")
        writer.writeheader()
        writer.writerows(some)
        yield f"{kind}.csv", table.getvalue()


def _row(board: Board) -> tuple[str, dict[str, object]]:
    """The set that a board belongs to, and its row; or why it belongs to none."""
    story = board.storyboard
    if abs(story.duration - CLOCK.duration) > 1e-3:
        return f"lasts {story.duration:g} s, and TempoControl's videos {CLOCK.duration:g} s", {}
    signals = [_signal(subject.appears) for subject in story.subjects]
    words = [subject.word for subject in story.subjects]
    always = " ".join("1" * CLOCK.latent_frames)
    if len(words) == 1 and not story.events:
        return "one_object", {"temp_object": words[0], "control_signal1": signals[0]}
    if len(words) == 2 and not story.events and signals.count(always) == 1:
        still = signals.index(always)
        return "two_objects", {
            "original_prompt": caption_of(words),
            "Object 1": words[0],
            "Object 2": words[1],
            "temp_object": words[1 - still],
            "static_object": words[still],
            "control_signal1": signals[1 - still],
            "control_signal2": always,
        }
    if len(words) == 1 and len(story.events) == 1 and signals[0] == always:
        event = story.events[0]
        signal = _signal(Spans([event.during]))
        verb = re.search(rf"\b{re.escape(words[0])}\W+(\w+)", event.text, re.IGNORECASE)
        if verb is None:
            return f"its event does not say what the {words[0]} does", {}
        return "action", {
            "temp_object": verb[1],
            "static_object": words[0],
            "control_signal1": signal,
            "mov_sec": max(0, signal.split().index("1") - 1) // 4 if "1" in signal else 0,
            "control_signal2": always,
        }
    return "is neither one object, nor two of which one is always there, nor one that moves", {}
