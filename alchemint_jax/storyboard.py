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

from alchemint_jax import documents, images, timebase, wording
from alchemint_jax.documents import FieldPath, describe, show
from alchemint_jax.errors import StoryboardError

Real = float | int
Interval = tuple[Real, Real]

# Bounds on what is worth reading at all. What a model can do is in Limits, and is narrower.
MAX_TEXT = 10_000
MAX_WORD = 200
MAX_ITEMS = 64
MAX_DURATION = 600.0
MAX_FPS = 240.0
MAX_SIDE = 4096
KEYFRAMES = ("first_frame", "last_frame")
_ANY_TIME = 1e6  # seconds; catches NaN and infinity with one rule


@dataclass(frozen=True)
class Subject:
    """A subject: its word in the prompt, its reference picture, and when it is on screen."""

    word: str
    image: Path
    appears: tuple[Interval, ...]  # seconds, sorted, disjoint


@dataclass(frozen=True)
class Event:
    """A caption for a part of the video."""

    text: str
    during: Interval  # seconds


@dataclass(frozen=True)
class Limits:
    """What a model can render. The first size and the first fps are its defaults."""

    max_subjects: int
    max_frames: int  # pixel frames
    fps: tuple[Real, ...]
    sizes: tuple[tuple[int, int], ...]  # (height, width)
    size_multiple: int | None = None  # other sizes are fine too, if both sides are multiples
    max_pixels: int | None = None  # height * width of such a size
    min_frames: int = 1
    events: bool = False
    keyframes: int = 0  # given pictures: 1 is the first frame, 2 the first and the last one
    stride: int = timebase.STRIDE

    def describe(self) -> str:
        """Everything on one line, for error messages."""
        sizes = [f"{h}x{w}" for h, w in self.sizes]
        if self.size_multiple:
            rule = f"any multiple of {self.size_multiple}"
            sizes.append(rule + (f" up to {self.max_pixels} pixels" if self.max_pixels else ""))
        low, high = ((n - 1) / self.fps[0] for n in (self.min_frames, self.max_frames))
        return (
            f"up to {self.max_subjects} subjects; size (height x width) {' or '.join(sizes)}; "
            f"fps {' or '.join(f'{f:g}' for f in self.fps)}; {self.min_frames} to "
            f"{self.max_frames} frames ({low:g} to {high:g} s at {self.fps[0]:g} fps); "
            f"{'events' if self.events else 'no events'}"
            + (f"; it needs {' and '.join(KEYFRAMES[: self.keyframes])}" if self.keyframes else "")
        )


@dataclass(frozen=True)
class Storyboard:
    """A checked storyboard; make one with load or from_dict. ``None`` leaves it to the model."""

    prompt: str
    duration: Real  # seconds
    subjects: tuple[Subject, ...] = ()
    events: tuple[Event, ...] = ()
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
        """Read and check a .yaml or .json file; pictures are found relative to it.

        Raises:
            StoryboardError: naming the file, the field, and for YAML the line.
        """
        data, lines = documents.read(path)
        return _build(data, _Check(str(path), lines), Path(path).parent)

    @classmethod
    def from_dict(
        cls, data: Any, base: Path | None = None, source: str | None = None
    ) -> Storyboard:
        """The same from a mapping; pictures are relative to ``base``, errors name ``source``.

        Raises:
            StoryboardError: naming the field.
        """
        return _build(data, _Check(source or "storyboard", {}), base or Path())

    def pictures(self) -> list[tuple[str, Path]]:
        """Every picture that is asked for, by the name of its field."""
        found = [(f"subjects[{i}].image", s.image) for i, s in enumerate(self.subjects)]
        keyframes = [(name, getattr(self, name)) for name in KEYFRAMES]
        return found + [(name, path) for name, path in keyframes if path is not None]

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

    def n_frames(self, fps: Real, *, stride: int = timebase.STRIDE) -> int:
        """Pixel frames of the video, stride * k + 1: those closest to its duration."""
        return timebase.frames_for(self.duration, fps, stride=stride)

    def frame_intervals(
        self, fps: Real, *, stride: int = timebase.STRIDE
    ) -> tuple[tuple[tuple[int, int], ...], ...]:
        """When each subject is on screen, in half-open pixel frames, sorted and disjoint.

        What renders, draws and measures a storyboard asks here, so that all of them have the same
        frames in mind, also where the duration is no whole number of them.
        """
        n = self.n_frames(fps, stride=stride)
        spans = (
            timebase.seconds_to_frames(subject.appears, fps, n, duration=self.duration)
            for subject in self.subjects
        )
        return tuple(timebase.merge_intervals(rows) for rows in spans)

    def frame_events(
        self, fps: Real, *, stride: int = timebase.STRIDE
    ) -> tuple[tuple[str, tuple[int, int]], ...]:
        """What is said of which half-open pixel frames, as `frame_intervals` has those."""
        during = [event.during for event in self.events]
        n = self.n_frames(fps, stride=stride)
        spans = timebase.seconds_to_frames(during, fps, n, duration=self.duration)
        return tuple(zip((event.text for event in self.events), spans, strict=True))

    def validate_for(self, limits: Limits) -> Storyboard:
        """The same board with fps and size filled in, if a model with these limits can render it.

        Raises:
            StoryboardError: naming the field and everything that the model can do.
        """

        def fail(field: str, problem: str) -> NoReturn:
            raise StoryboardError(
                f"{self.source}: {field}: {problem}; this model can do: {limits.describe()}"
            )

        if len(self.subjects) > limits.max_subjects:
            fail("subjects", f"{len(self.subjects)} subjects are too many")
        if self.events and not limits.events:
            fail("events", "dense captions are not possible")
        for number, name in enumerate(KEYFRAMES, 1):
            if getattr(self, name) is None and number <= limits.keyframes:
                fail(name, "is missing; give a picture")
            if getattr(self, name) is not None and number > limits.keyframes:
                fail(name, "cannot be given")
        fps = limits.fps[0] if self.fps is None else self.fps
        if fps not in limits.fps:
            fail("fps", f"{fps:g} frames per second is not possible")
        size = limits.sizes[0] if self.size is None else self.size
        if size not in limits.sizes:
            step, area = limits.size_multiple, size[0] * size[1]
            fits = step is not None and size[0] % step == 0 == size[1] % step
            if not fits or area > (limits.max_pixels or math.inf):
                fail("size", f"{size[0]}x{size[1]} is not possible")
        n = self.n_frames(fps, stride=limits.stride)
        if not limits.min_frames <= n <= limits.max_frames:
            fail("duration", f"{self.duration:g} s at {fps:g} fps is {n} frames, not possible")
        return dataclasses.replace(self, fps=fps, size=size)


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

    def interval(self, value: Any, path: FieldPath, duration: Real) -> Interval:
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

    def appears(self, value: Any, path: FieldPath, duration: Real) -> tuple[Interval, ...]:
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
        return timebase.merge_intervals(spans)

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


def _build(data: Any, check: _Check, base: Path) -> Storyboard:
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
        fields = check.mapping(entry, at, ("word", "image", "appears"))
        subjects.append(
            Subject(
                word=check.text(fields["word"], (*at, "word"), MAX_WORD),
                image=check.image(fields["image"], (*at, "image"), base),
                appears=check.appears(fields["appears"], (*at, "appears"), duration),
            )
        )
    events = []
    for i, entry in enumerate(entries("events")):
        at = ("events", i)
        fields = check.mapping(entry, at, ("text", "during"))
        text = check.text(fields["text"], (*at, "text"), MAX_TEXT)
        events.append(Event(text, check.interval(fields["during"], (*at, "during"), duration)))

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
        (("subjects", i, "image"), subject.image) for i, subject in enumerate(subjects)
    ]
    pictures += [((name,), path) for name, path in keyframes.items() if path is not None]
    remarks: dict[Path, str | None] = {}  # last, for decoding pictures is slow
    for field, path in pictures:
        if path not in remarks:
            try:
                remarks[path] = images.check_picture(path)
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
