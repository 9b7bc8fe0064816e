"""What the user asks for: a prompt, and the seconds during which each subject is on screen.

A storyboard is a YAML (or JSON) file::

    prompt: a red disc glides past while a blue star bounces in
    duration: 4.0                       # seconds
    subjects:                           # may be empty
      - word: disc
        image: refs/red_disc.png        # relative to this file
        appears: [[0.5, 2.0]]           # seconds, [start, end), inside 0 .. duration
    events:                             # optional dense captions
      - {text: the disc slows down, during: [1.0, 2.0]}   # one after the other, no overlap
    fps: 8                              # optional, as are the next three
    size: [64, 64]                      # height, width
    seed: 0
    negative_prompt: blurry
    first_frame: start.png              # for models that continue pictures, and only for them
    last_frame: end.png

Whatever is wrong with it is a StoryboardError that says what, where, and what to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import numbers
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from alchemint_jax import documents, images, wording
from alchemint_jax.documents import FieldPath, describe, show
from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.limits import KEYFRAMES, Limits
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans

Real = float | int

# Bounds on what is worth reading at all. What a model can do is in Limits, and is narrower.
MAX_TEXT = 10_000
MAX_WORD = 200
MAX_ITEMS = 64
MAX_DURATION = 600.0
MAX_FPS = 240.0
MAX_SIDE = 4096
_ANY_TIME = 1e6  # seconds; catches NaN and infinity with one rule


@dataclass(frozen=True)
class SubjectEntry:
    """An entry of `subjects`: its word in the prompt, its picture, and when it is on screen."""

    word: str
    image: Path | None  # None only where pictures may be left out
    appears: Spans  # seconds


@dataclass(frozen=True)
class EventEntry:
    """An entry of `events`: a caption for a part of the video."""

    text: str
    during: tuple[Real, Real]  # seconds


@dataclass(frozen=True)
class Storyboard:
    """A checked storyboard; make one with `load` or `from_dict`.

    Attributes:
        prompt: the caption of the whole video.
        duration: seconds.
        subjects: each has a `word`, the path of its `image`, and `appears`, a tuple of half-open
            intervals (start, end) in seconds, sorted and disjoint.
        events: each has a `text` and `during`, an interval (start, end) in seconds.
        fps: frames per second; None leaves it to the model.
        size: (height, width) in pixels; None leaves it to the model.
        seed: of the noise; None leaves it to the caller.
        negative_prompt: what the video should not show; the model's own text where it is empty.
        first_frame: the picture that the video starts from, for models that continue pictures.
        last_frame: the picture that it ends with.
        source: what messages call this storyboard.
        remarks: what was noticed while its pictures were read.

    Examples:
        >>> board = al.Storyboard.load("examples/two_subjects.yaml")
        >>> board.subjects[0].word, board.subjects[0].appears
        ('purple moon', ((0.6, 2.6),))

    Source:
        The inputs of AlcheMinT, arXiv 2512.10943; the file format is this repository's.
    """

    prompt: str
    duration: Real  # seconds
    subjects: tuple[SubjectEntry, ...] = ()
    events: tuple[EventEntry, ...] = ()
    fps: Real | None = None
    size: tuple[int, int] | None = None  # height, width
    seed: int | None = None
    negative_prompt: str = ""
    first_frame: Path | None = None
    last_frame: Path | None = None
    source: str = dataclasses.field(default="storyboard", compare=False, repr=False)
    remarks: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Storyboard:
        """Reads and checks a .yaml or .json file; pictures are found relative to it.

        Args:
            path: the file.

        Returns:
            The storyboard.

        Raises:
            StoryboardError: naming the file, the field, and for YAML the line.

        Examples:
            >>> al.Storyboard.load("examples/two_subjects.yaml").duration
            4.0

        Source:
            This repository.
        """
        data, lines = documents.read(path)
        return _build(data, _Check(str(path), lines), Path(path).parent)

    @classmethod
    def from_dict(
        cls,
        data: Any,
        base: Path | None = None,
        source: str | None = None,
        pictures: bool = True,
    ) -> Storyboard:
        """Checks a mapping with the fields of a storyboard file.

        Args:
            data: the mapping.
            base: the folder that pictures are relative to; the current one where it is None.
            source: what errors call the storyboard.
            pictures: whether every subject needs one. Without, the board can be asked of systems
                that read text alone, and its videos can be measured; `scene` is for those with
                pictures.

        Returns:
            The storyboard.

        Raises:
            StoryboardError: naming the field.

        Examples:
            >>> al.Storyboard.from_dict({"prompt": "an empty beach", "duration": 2}).subjects
            ()

        Source:
            This repository.
        """
        return _build(data, _Check(source or "storyboard", {}), base or Path(), pictures)

    def pictures(self) -> list[tuple[str, Path]]:
        """Every picture that is asked for, by the name of its field."""
        found = [(f"subjects[{i}].image", s.image) for i, s in enumerate(self.subjects)]
        found += [(name, getattr(self, name)) for name in KEYFRAMES]
        return [(name, path) for name, path in found if path is not None]

    def warnings(self) -> list[str]:
        """What is allowed but probably not meant, one sentence each; there may be many."""
        found = list(self.remarks)
        seen: dict[str, int] = {}  # how often so far; each word is worth one warning of a kind
        for i, subject in enumerate(self.subjects):
            where = f"{self.source}: subjects[{i}].word: {subject.word!r}"
            word = wording.same_word(subject.word)
            seen[word] = seen.get(word, 0) + 1
            if seen[word] == 1 and not wording.mentions(self.prompt, subject.word):
                found.append(f"{where} is not in the prompt")
            if seen[word] == 2:
                found.append(f"{where} names an earlier subject too")
        order = sorted(range(len(self.events)), key=lambda i: self.events[i].during)
        for first, second in itertools.pairwise(order):
            if self.events[second].during[0] < self.events[first].during[1]:
                found.append(
                    f"{self.source}: events[{first}] and events[{second}] overlap; a model times "
                    "events as if one followed the other, so join them or set them apart"
                )
        return found

    def validate_for(self, limits: Limits) -> Storyboard:
        """The same board with fps and size filled in, if a model with these limits can render it.

        Raises:
            StoryboardError: naming the field and everything that the model can do.
        """
        for number, subject in enumerate(self.subjects):
            if subject.image is None:
                where = f"{self.source}: subjects[{number}].image"
                raise StoryboardError(f"{where}: is missing; this model draws from pictures")
        fps = limits.fps[0] if self.fps is None else self.fps
        size = limits.sizes[0] if self.size is None else self.size
        limits.check(
            self.source,
            subjects=len(self.subjects),
            events=bool(self.events),
            keyframes=[getattr(self, name) is not None for name in KEYFRAMES],
            clock=Clock.for_duration(self.duration, fps, limits.stride),
            size=size,
            duration=self.duration,
        )
        return dataclasses.replace(self, fps=fps, size=size)

    def scene(self, limits: Limits) -> Scene:
        """What this board asks a model with these limits for, in pixel frames.

        What renders, draws and measures a storyboard asks here, so that all of them have the same
        frames in mind, also where the duration is no whole number of them. Pictures are read when
        they are looked at.

        Raises:
            StoryboardError: see `validate_for`.
        """
        board = self.validate_for(limits)
        assert board.fps is not None  # filled in
        clock = Clock.for_duration(self.duration, board.fps, limits.stride)
        keyframes = (getattr(self, name) for name in KEYFRAMES)
        return Scene(
            id=self.source,
            caption=self.prompt,
            clock=clock,
            subjects=tuple(
                Subject(
                    entry.word,
                    clock.spans(entry.appears, self.duration),
                    () if entry.image is None else (entry.image,),
                )
                for entry in self.subjects
            ),
            events=tuple(
                Event(entry.text, clock.spans([entry.during], self.duration))
                for entry in self.events
            ),
            keyframes=tuple(path for path in keyframes if path is not None),
            size=board.size,
        )


@dataclass(frozen=True)
class _Check:
    """Turns loose values into checked ones, or fails naming the file, the field and the line."""

    source: str
    lines: dict[FieldPath, int]

    def fail(self, path: FieldPath, problem: str) -> NoReturn:
        field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
        known = (self.lines.get(path[:n]) for n in range(len(path), 0, -1))
        line = next((n for n in known if n), None)
        where = f" (line {line})" if line else ""
        raise StoryboardError(": ".join(filter(None, [self.source, field, problem])) + where)

    def mapping(
        self, value: Any, path: FieldPath, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        names = (*required, *optional)
        if not isinstance(value, Mapping):
            self.fail(path, f"expected {', '.join(names)}, got {describe(value)}")
        for key in value:
            if key not in names:
                name = key[:50] if isinstance(key, str) else show(key)
                near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                self.fail((*path, name), f"unknown field; {hint}")
        for name in required:
            if value.get(name) is None:
                self.fail((*path, name), "is missing or empty")
        return {name: value.get(name) for name in names}  # an optional null is as good as absent

    def items(self, value: Any, path: FieldPath, what: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            self.fail(path, f"expected {what}, got {describe(value)}")
        if len(value) > MAX_ITEMS:
            self.fail(path, f"has {len(value)} entries; {MAX_ITEMS} are the most")
        return list(value)

    def text(self, value: Any, path: FieldPath, longest: int, empty: bool = False) -> str:
        if not isinstance(value, str):
            quote = "" if isinstance(value, (Mapping, list, tuple)) else "; put it in quotes"
            self.fail(path, f"expected text, got {describe(value)}{quote}")
        text = value.strip()
        if not text and not empty:
            self.fail(path, "is empty")
        if len(text) > longest:
            self.fail(path, f"is {len(text)} characters long; {longest} are the most")
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.fail(path, "holds half a character (a lone surrogate)")
        return text

    def number(self, value: Any, path: FieldPath, low: Real, high: Real) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            self.fail(path, f"expected a number, got {describe(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not low <= number <= high:  # NaN fails too
            self.fail(path, f"must be between {low:.10g} and {high:.10g}, not {number!r}")
        return number

    def integer(self, value: Any, path: FieldPath, low: int, high: int) -> int:
        number = self.number(value, path, low, high)
        if number != int(number):
            self.fail(path, f"must be a whole number, not {number!r}")
        return int(number)

    def interval(self, value: Any, path: FieldPath, duration: Real) -> tuple[Real, Real]:
        pair = self.items(value, path, "[start, end] in seconds")
        if len(pair) != 2:
            self.fail(path, f"expected [start, end] in seconds, got {len(pair)} values")
        start, end = (self.number(v, (*path, i), -_ANY_TIME, _ANY_TIME) for i, v in enumerate(pair))
        if start < 0:
            self.fail(path, f"starts ({start}) before the video does; the earliest is 0")
        if end < start:
            self.fail(path, f"ends ({end}) before it starts ({start})")
        if end == start:
            self.fail(path, f"is empty: it starts and ends at {start}")
        if end > duration + 1e-6:
            self.fail(path, f"ends ({end}) after the video does; its duration is {duration}")
        return start, min(end, duration)

    def appears(self, value: Any, path: FieldPath, duration: Real) -> Spans:
        rows = self.items(value, path, "a list of [start, end] in seconds")
        if not rows:
            self.fail(path, "is empty; say when the subject is on screen, such as [[0.5, 2.0]]")
        if not any(isinstance(row, (list, tuple)) for row in rows):
            self.fail(path, "is a list of intervals; write [[start, end]] with two brackets")
        spans = [self.interval(row, (*path, i), duration) for i, row in enumerate(rows)]
        order = sorted(range(len(spans)), key=lambda i: spans[i])
        for before, i in zip(order, order[1:], strict=False):
            if spans[i][0] < spans[before][1]:
                self.fail(
                    (*path, i),
                    f"{list(spans[i])} overlaps {list(spans[before])} of the same subject; "
                    "join them or set them apart",
                )
        return Spans(spans)

    def image(self, value: Any, path: FieldPath, base: Path) -> Path:
        name = value if isinstance(value, os.PathLike) else self.text(value, path, MAX_TEXT)
        try:
            found = base / Path(name).expanduser()
        except RuntimeError as error:  # ~nobody
            self.fail(path, f"{show(name)}: {error}")
        # What two systems call by one name may be two names to a disk.
        forms = (unicodedata.normalize(form, os.fspath(found)) for form in ("NFC", "NFD"))
        return next((p for p in (found, *map(Path, forms)) if _exists(p)), found)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no path that can be
        return False


def _build(data: Any, check: _Check, base: Path, needed: bool = True) -> Storyboard:
    if data is None:
        check.fail((), "is empty; a storyboard needs a prompt and a duration")
    optional = ("subjects", "events", "fps", "size", "seed", "negative_prompt", *KEYFRAMES)
    top = check.mapping(data, (), ("prompt", "duration"), optional)
    prompt = check.text(top["prompt"], ("prompt",), MAX_TEXT)
    duration = check.number(top["duration"], ("duration",), 0, MAX_DURATION)
    if duration == 0:
        check.fail(("duration",), "must be more than 0 seconds")

    def entries(name: str) -> list[Any]:
        return [] if top[name] is None else check.items(top[name], (name,), "a list")

    subjects = []
    for i, entry in enumerate(entries("subjects")):
        at: FieldPath = ("subjects", i)
        fields = check.mapping(
            entry,
            at,
            ("word", "image", "appears") if needed else ("word", "appears"),
            () if needed else ("image",),
        )
        picture = fields["image"]
        subjects.append(
            SubjectEntry(
                word=check.text(fields["word"], (*at, "word"), MAX_WORD),
                image=None if picture is None else check.image(picture, (*at, "image"), base),
                appears=check.appears(fields["appears"], (*at, "appears"), duration),
            )
        )
    events = []
    for i, entry in enumerate(entries("events")):
        at = ("events", i)
        fields = check.mapping(entry, at, ("text", "during"))
        text = check.text(fields["text"], (*at, "text"), MAX_TEXT)
        during = check.interval(fields["during"], (*at, "during"), duration)
        events.append(EventEntry(text, during))

    fps = size = seed = None
    negative = ""
    if top["fps"] is not None:
        fps = check.number(top["fps"], ("fps",), 1, MAX_FPS)
    if top["size"] is not None:
        sides = check.items(top["size"], ("size",), "[height, width]")
        if len(sides) != 2:
            check.fail(("size",), f"expected [height, width], got {len(sides)} values")
        height, width = (check.integer(v, ("size", i), 1, MAX_SIDE) for i, v in enumerate(sides))
        size = (height, width)
    if top["seed"] is not None:
        seed = check.integer(top["seed"], ("seed",), 0, 2**32 - 1)
    if top["negative_prompt"] is not None:
        negative = check.text(top["negative_prompt"], ("negative_prompt",), MAX_TEXT, empty=True)

    keyframes = {
        name: None if top[name] is None else check.image(top[name], (name,), base)
        for name in KEYFRAMES
    }

    pictures: list[tuple[FieldPath, Path]] = [
        (("subjects", i, "image"), subject.image)
        for i, subject in enumerate(subjects)
        if subject.image is not None
    ]
    pictures += [((name,), path) for name, path in keyframes.items() if path is not None]
    remarks: dict[Path, str | None] = {}  # last, for decoding pictures is slow
    for field, path in pictures:
        if path not in remarks:
            try:
                remarks[path] = images.check_image(path)
            except StoryboardError as error:
                check.fail(field, str(error))
    return Storyboard(
        prompt=prompt,
        duration=duration,
        subjects=tuple(subjects),
        events=tuple(events),
        fps=fps,
        size=size,
        seed=seed,
        negative_prompt=negative,
        **keyframes,
        source=check.source,
        remarks=tuple(f"{check.source}: {remark}" for remark in remarks.values() if remark),
    )
